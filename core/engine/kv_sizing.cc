#include "core/engine/kv_sizing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/kv/slab_arena.h"

namespace quire {

absl::StatusOr<size_t> ChooseKvBytes(int64_t wanted, size_t available, const KvLayout& layout,
                                     const EngineOptions& options) {
  const size_t block = layout.BlockBytes();
  size_t bytes = static_cast<size_t>(wanted);
  if (wanted <= 0) {
    const auto useful = static_cast<size_t>(layout.BlocksFor(options.max_context_tokens)) *
                        static_cast<size_t>(options.max_running_requests) * block;
    bytes = std::min(useful, available / 2);
  }
  if (bytes < block) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KV cache gets ", bytes, " bytes, but one block of ", layout.block_tokens,
                     " tokens takes ", block, "; give it more with --kv-memory"));
  }
  if (wanted > 0 && bytes > available) {
    return absl::InvalidArgumentError(absl::StrCat("the KV cache is to get ", bytes,
                                                   " bytes, but only ", available,
                                                   " are available; lower --kv-memory"));
  }
  // Whole slabs alone can be used, and block offsets reach 1 TiB.
  const size_t slab = SlabArena::SlabBytesFor(bytes, block);
  const size_t limit = kernels::kKvOffsetUnit * UINT32_MAX;
  return std::min(bytes, limit) / slab * slab;
}

}  // namespace quire
