#include "kernels/cuda/attention_plan.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace quire::kernels::cuda {
namespace {

// Shorter ranges cost more in merging than they gain.
constexpr int32_t kMinRange = 256;
// Room for a tile of the largest size to be cut once, on however small a GPU.
constexpr int32_t kMinSlotBudget = 32;

int32_t CeilDiv(int32_t a, int32_t b) { return (a + b - 1) / b; }
int32_t RoundUp(int32_t a, int32_t unit) { return CeilDiv(a, unit) * unit; }

template <typename T>
size_t BytesOf(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

// Blocks for each group that run at the same time.
int32_t BlocksPerGroup(const AttentionPlanOptions& options) {
  return CeilDiv(options.resident_blocks, options.groups);
}
int32_t SlotBudget(const AttentionPlanOptions& options) {
  return 4 * BlocksPerGroup(options) + kMinSlotBudget;
}

}  // namespace

AttentionPlanCapacity PlanCapacity(const BatchCapacity& batch,
                                   const AttentionPlanOptions& options) {
  const int32_t slots = SlotBudget(options);
  const int32_t tiles =
      CeilDiv(batch.tokens * options.q_per_group, kAttentionTileRows[0]) + batch.sequences;
  return {tiles + slots, slots, slots};
}

void AttentionPlan::Make(std::span<const int32_t> q_start, std::span<const int32_t> kv_len) {
  KERNELS_CHECK(options_.split % kAttentionKvUnit == 0);
  header_ = {};
  items_.clear();
  merges_.clear();
  slots_ = 0;
  CollectTiles(q_start, kv_len);
  const int32_t range = options_.split > 0 ? 0 : ChooseRange();
  for (int32_t size = 0; size < kAttentionTiles; ++size) {
    header_.item_begin[size] = static_cast<int32_t>(items_.size());
    for (const Tile& tile : tiles_) {
      if (tile.size == size) EmitTile(tile, range);
    }
    header_.item_count[size] = static_cast<int32_t>(items_.size()) - header_.item_begin[size];
    SortItems(header_.item_begin[size]);
  }
  header_.merge_count = static_cast<int32_t>(merges_.size());
  header_.merges_offset = static_cast<int32_t>(BytesOf(items_));
}

size_t AttentionPlan::ListBytes() const { return BytesOf(items_) + BytesOf(merges_); }

void AttentionPlan::WriteLists(std::byte* to) const {
  static_assert(sizeof(AttentionItem) % alignof(AttentionMerge) == 0);
  if (!items_.empty()) std::memcpy(to, items_.data(), BytesOf(items_));
  if (!merges_.empty()) std::memcpy(to + BytesOf(items_), merges_.data(), BytesOf(merges_));
}

void AttentionPlan::CollectTiles(std::span<const int32_t> q_start,
                                 std::span<const int32_t> kv_len) {
  tiles_.clear();
  const int32_t large = LargeTile(q_start);
  for (size_t i = 0; i < kv_len.size(); ++i) {
    const int32_t tokens = q_start[i + 1] - q_start[i];
    const int32_t rows = tokens * options_.q_per_group;
    const int32_t size = rows <= kAttentionTileRows[0] ? 0 : large;
    for (int32_t begin = 0; begin < rows; begin += kAttentionTileRows[size]) {
      const int32_t count = std::min(rows - begin, kAttentionTileRows[size]);
      const int32_t first_limit = kv_len[i] - tokens + begin / options_.q_per_group + 1;
      const int32_t last_limit =
          kv_len[i] - tokens + (begin + count - 1) / options_.q_per_group + 1;
      const int32_t seen = options_.window > 0 ? std::max(0, first_limit - options_.window) : 0;
      tiles_.push_back({static_cast<int32_t>(i), size, begin, count,
                        seen / kAttentionKvUnit * kAttentionKvUnit, last_limit});
    }
  }
}

// The size of tiles for sequences whose rows do not fit the smallest.
int32_t AttentionPlan::LargeTile(std::span<const int32_t> q_start) const {
  if (options_.split > 0) return 0;
  int32_t most = 0;
  for (size_t i = 0; i + 1 < q_start.size(); ++i) {
    most = std::max(most, (q_start[i + 1] - q_start[i]) * options_.q_per_group);
  }
  return most > kAttentionTileRows[1] ? LargestAttentionTile(options_.head_dim) : 1;
}

// With too few tiles to fill the GPU, the shortest ranges that still run all at once. Otherwise
// only tiles are cut that would run for long after the others: longer than two equal shares of the
// work.
int32_t AttentionPlan::ChooseRange() const {
  const int32_t blocks = BlocksPerGroup(options_);
  int64_t total = 0;
  int32_t longest = 0;
  for (const Tile& tile : tiles_) {
    total += tile.kv_end - tile.kv_begin;
    longest = std::max(longest, tile.kv_end - tile.kv_begin);
  }
  int32_t range = kMinRange;
  if (static_cast<int64_t>(tiles_.size()) * 5 >= static_cast<int64_t>(blocks) * 4) {
    const int64_t share = std::min<int64_t>(2 * total / blocks, longest);
    range = std::max(range, RoundUp(static_cast<int32_t>(share), kAttentionKvUnit));
  } else {
    int32_t low = kMinRange / kAttentionKvUnit;
    int32_t high = std::max(low, CeilDiv(longest, kAttentionKvUnit));
    while (low < high) {
      const int32_t middle = (low + high) / 2;
      if (Needs(middle * kAttentionKvUnit).ranges <= blocks) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    range = low * kAttentionKvUnit;
  }
  while (range < longest && Needs(range).slots > SlotBudget(options_)) range *= 2;
  return range;
}

AttentionPlan::Need AttentionPlan::Needs(int32_t range) const {
  Need need;
  for (const Tile& tile : tiles_) {
    const int32_t ranges = CeilDiv(tile.kv_end - tile.kv_begin, range);
    need.ranges += ranges;
    if (ranges > 1) {
      need.slots += static_cast<int64_t>(ranges) * kAttentionTileRows[tile.size] / kPartialRows;
    }
  }
  return need;
}

// `range`: tokens at most; 0 with a split, which then decides where ranges may end.
void AttentionPlan::EmitTile(const Tile& tile, int32_t range) {
  const int32_t stride = kAttentionTileRows[tile.size] / kPartialRows;
  int32_t first_end = tile.kv_end;
  int32_t step = tile.kv_end;
  int32_t ranges = 1;
  if (range > 0) {
    ranges = CeilDiv(tile.kv_end - tile.kv_begin, range);
    step = RoundUp(CeilDiv(tile.kv_end - tile.kv_begin, ranges), kAttentionKvUnit);
    ranges = CeilDiv(tile.kv_end - tile.kv_begin, step);
    first_end = tile.kv_begin + step;
  } else {
    step = options_.split;
    const int32_t first_split = tile.kv_begin / step;
    ranges = CeilDiv(tile.kv_end, step) - first_split;
    first_end = (first_split + 1) * step;
    // Else one block takes the parts one after the other.
    const bool apart = static_cast<int32_t>(tiles_.size()) < BlocksPerGroup(options_) &&
                       slots_ + ranges * stride <= SlotBudget(options_);
    if (!apart) ranges = 1;
  }
  if (ranges == 1) {
    items_.push_back({tile.sequence, tile.row_begin, tile.kv_begin, tile.kv_end, -1});
    return;
  }
  merges_.push_back({tile.sequence, tile.row_begin, tile.rows, slots_, stride, ranges});
  int32_t begin = tile.kv_begin;
  for (int32_t i = 0; i < ranges; ++i) {
    const int32_t end = std::min(first_end + i * step, tile.kv_end);
    items_.push_back({tile.sequence, tile.row_begin, begin, end, slots_});
    slots_ += stride;
    begin = end;
  }
}

// What runs longest starts first.
void AttentionPlan::SortItems(int32_t begin) {
  const auto key = [](const AttentionItem& item) {
    return std::make_tuple(item.kv_begin - item.kv_end, item.sequence, item.row_begin,
                           item.kv_begin);
  };
  std::sort(items_.begin() + begin, items_.end(),
            [&](const AttentionItem& a, const AttentionItem& b) { return key(a) < key(b); });
}

}  // namespace quire::kernels::cuda
