#include "core/kv/host_block_pool.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire {

absl::StatusOr<std::unique_ptr<HostBlockPool>> HostBlockPool::Create(
    kernels::Device* device, std::span<const size_t> block_bytes, size_t bytes) {
  const size_t largest = *std::max_element(block_bytes.begin(), block_bytes.end());
  if (bytes < largest) {
    return absl::InvalidArgumentError(absl::StrCat("host memory of ", bytes,
                                                   " bytes for swapped KV holds no block of ",
                                                   largest, "; allow at least as many"));
  }
  const size_t chunk_bytes = SlabArena::SlabBytesFor(bytes, block_bytes);
  const size_t num_chunks = bytes / chunk_bytes;
  std::unique_ptr<HostBlockPool> pool(new HostBlockPool(block_bytes, chunk_bytes, num_chunks));
  for (kernels::HostBuffer& chunk : pool->chunks_) {
    const kernels::DeviceStatus status = device->AllocateHost(chunk_bytes, &chunk);
    if (status.ok()) continue;
    const std::string message =
        absl::StrCat("pinning ", bytes, " bytes of host memory for swapped KV: ", status.message());
    if (status.code() == kernels::DeviceStatus::Code::kOutOfMemory) {
      return absl::ResourceExhaustedError(absl::StrCat(message, "; allow fewer"));
    }
    return absl::UnavailableError(message);
  }
  return pool;
}

HostBlockPool::HostBlockPool(std::span<const size_t> block_bytes, size_t chunk_bytes,
                             size_t num_chunks)
    : arena_(num_chunks * chunk_bytes, chunk_bytes), chunks_(num_chunks) {
  for (const size_t bytes : block_bytes) {
    classes_.push_back({bytes,
                        BlockPool(static_cast<int32_t>(chunk_bytes / bytes), arena_.num_slabs()),
                        std::vector<int32_t>(num_chunks, -1)});
  }
}

bool HostBlockPool::HasRoomFor(const KvBlockCounts& blocks) const {
  int64_t chunks = 0;
  for (size_t c = 0; c < classes_.size(); ++c) {
    const BlockPool& pool = classes_[c].pool;
    const int64_t missing = std::max(blocks[c] - pool.num_free(), 0);
    chunks += (missing + pool.blocks_per_slab() - 1) / pool.blocks_per_slab();
  }
  return chunks <= arena_.free_slabs();
}

BlockId HostBlockPool::Take(size_t cache_class) {
  Class& own = classes_[cache_class];
  if (own.pool.num_free() == 0) {
    const auto chunk = arena_.Claim();
    QUIRE_CHECK(chunk.has_value()) << "no room for a swapped block";
    own.chunks[static_cast<size_t>(own.pool.AddSlab())] = *chunk;
  }
  std::vector<BlockId> slot;
  QUIRE_CHECK(own.pool.Allocate(1, &slot));
  return slot[0];
}

void HostBlockPool::Free(size_t cache_class, BlockId slot) {
  Class& own = classes_[cache_class];
  own.pool.Free(slot);
  const int32_t slab = own.pool.SlotOf(slot);
  if (!own.pool.SlabIsFree(slab)) return;
  own.pool.RemoveSlab(slab);
  arena_.Return(std::exchange(own.chunks[static_cast<size_t>(slab)], -1));
}

size_t HostBlockPool::used_bytes() const {
  size_t bytes = 0;
  for (const Class& own : classes_) {
    bytes += static_cast<size_t>(own.pool.num_held() + own.pool.num_released()) * own.block_bytes;
  }
  return bytes;
}

std::byte* HostBlockPool::Data(size_t cache_class, BlockId slot) const {
  const Class& own = classes_[cache_class];
  const auto slab = static_cast<size_t>(own.pool.SlotOf(slot));
  const auto index = slot.value() % static_cast<uint32_t>(own.pool.blocks_per_slab());
  return chunks_[static_cast<size_t>(own.chunks[slab])].data() + index * own.block_bytes;
}

}  // namespace quire
