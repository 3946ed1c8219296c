#include "kernels/cuda/attention_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <vector>

namespace quire::kernels::cuda {
namespace {

struct Batch {
  std::vector<int32_t> q_start = {0};
  std::vector<int32_t> kv_len;

  void Add(int32_t kv, int32_t q) {
    q_start.push_back(q_start.back() + q);
    kv_len.push_back(kv);
  }
  int32_t sequences() const { return static_cast<int32_t>(kv_len.size()); }
  int32_t tokens(int32_t i) const {
    return q_start[static_cast<size_t>(i) + 1] - q_start[static_cast<size_t>(i)];
  }
  BatchCapacity capacity() const { return {q_start.back(), sequences(), 0, 0}; }
};

Batch RandomBatch(std::mt19937_64& random) {
  Batch batch;
  const auto sequences = random() % 40;
  for (uint64_t i = 0; i < sequences; ++i) {
    const auto kv = static_cast<int32_t>(1 + random() % (random() % 4 == 0 ? 20000 : 700));
    const auto longest = static_cast<uint64_t>(std::min(kv, 200));
    batch.Add(kv, random() % 3 == 0 ? static_cast<int32_t>(random() % (longest + 1)) : 1);
  }
  return batch;
}

AttentionPlanOptions RandomOptions(std::mt19937_64& random) {
  constexpr int32_t kHeads[] = {1, 2, 3, 7, 8, 64};
  constexpr int32_t kResident[] = {1, 8, 100, 396, 1000};
  return {.q_per_group = kHeads[random() % 6],
          .groups = static_cast<int32_t>(1 + random() % 8),
          .head_dim = random() % 2 == 0 ? 128 : 256,
          .window = random() % 2 == 0 ? 0 : static_cast<int32_t>(1 + random() % 1000),
          .resident_blocks = kResident[random() % 5],
          .split = random() % 3 == 0 ? 512 : 0};
}

// The rows of an item's tile, and what all of them together may see.
struct TileShape {
  int32_t rows = 0;  // of the size
  int32_t count = 0;
  int32_t first_limit = 0;
  int32_t last_limit = 0;
};
TileShape ShapeOf(const Batch& batch, const AttentionPlanOptions& options,
                  const AttentionItem& item, int32_t rows) {
  const auto sequence = static_cast<size_t>(item.sequence);
  const int32_t tokens = batch.tokens(item.sequence);
  const int32_t count = std::min(rows, tokens * options.q_per_group - item.row_begin);
  const int32_t before = batch.kv_len[sequence] - tokens;
  return {rows, count, before + item.row_begin / options.q_per_group + 1,
          before + (item.row_begin + count - 1) / options.q_per_group + 1};
}

// All items of a tile, in order of KV.
using Tiles = std::map<std::tuple<int32_t, int32_t>, std::vector<AttentionItem>>;

Tiles Collect(const AttentionPlan& plan, std::map<std::tuple<int32_t, int32_t>, int32_t>* rows) {
  Tiles tiles;
  for (int32_t size = 0; size < kAttentionTiles; ++size) {
    const int32_t begin = plan.header().item_begin[size];
    for (int32_t i = begin; i < begin + plan.header().item_count[size]; ++i) {
      const AttentionItem& item = plan.items()[static_cast<size_t>(i)];
      tiles[{item.sequence, item.row_begin}].push_back(item);
      (*rows)[{item.sequence, item.row_begin}] = kAttentionTileRows[size];
    }
  }
  for (auto& [tile, items] : tiles) {
    std::sort(items.begin(), items.end(), [](const AttentionItem& a, const AttentionItem& b) {
      return a.kv_begin < b.kv_begin;
    });
  }
  return tiles;
}

// A tile's ranges meet and hold all that its rows see.
void CheckRanges(const std::vector<AttentionItem>& items, const TileShape& shape, int32_t window) {
  ASSERT_GT(shape.count, 0);
  ASSERT_EQ(items.front().row_begin % shape.rows, 0);
  const int32_t seen = window > 0 ? std::max(0, shape.first_limit - window) : 0;
  EXPECT_LE(items.front().kv_begin, seen);
  EXPECT_GT(items.front().kv_begin + kAttentionKvUnit, seen);
  EXPECT_EQ(items.back().kv_end, shape.last_limit);
  for (size_t i = 0; i < items.size(); ++i) {
    ASSERT_LT(items[i].kv_begin, items[i].kv_end);
    ASSERT_EQ(items[i].kv_begin % kAttentionKvUnit, 0);
    if (i > 0) {
      ASSERT_EQ(items[i].kv_begin, items[i - 1].kv_end);
    }
  }
}

// Merges name the ranges' slots in order; no slot has two owners.
void CheckSlots(const AttentionPlan& plan, const std::vector<AttentionItem>& items,
                const TileShape& shape, std::vector<bool>* used) {
  const auto& merges = plan.merges();
  const auto merge = std::find_if(merges.begin(), merges.end(), [&](const AttentionMerge& m) {
    return m.sequence == items.front().sequence && m.row_begin == items.front().row_begin;
  });
  ASSERT_EQ(merge != merges.end(), items.size() > 1);
  if (items.size() == 1) {
    EXPECT_EQ(items.front().slot, -1);
    return;
  }
  EXPECT_EQ(merge->rows, shape.count);
  ASSERT_EQ(merge->ranges, static_cast<int32_t>(items.size()));
  for (int32_t i = 0; i < merge->ranges; ++i) {
    const int32_t first = items[static_cast<size_t>(i)].slot;
    EXPECT_EQ(first, merge->first_slot + i * merge->slot_stride);
    for (int32_t slot = first; slot < first + shape.rows / kPartialRows; ++slot) {
      ASSERT_LT(static_cast<size_t>(slot), used->size());
      ASSERT_FALSE((*used)[static_cast<size_t>(slot)]);
      (*used)[static_cast<size_t>(slot)] = true;
    }
  }
}

// Every row of the batch is in one tile.
void CheckPlan(const AttentionPlan& plan, const Batch& batch) {
  const AttentionPlanOptions& options = plan.options();
  std::map<std::tuple<int32_t, int32_t>, int32_t> rows;
  std::vector<int64_t> covered(batch.kv_len.size());
  std::vector<bool> used(static_cast<size_t>(PlanCapacity(batch.capacity(), options).slots));
  int32_t cut = 0;
  for (const auto& [tile, items] : Collect(plan, &rows)) {
    const TileShape shape = ShapeOf(batch, options, items.front(), rows[tile]);
    covered[static_cast<size_t>(items.front().sequence)] += shape.count;
    CheckRanges(items, shape, options.window);
    CheckSlots(plan, items, shape, &used);
    cut += items.size() > 1 ? 1 : 0;
  }
  EXPECT_EQ(plan.header().merge_count, cut);
  EXPECT_EQ(plan.merges().size(), static_cast<size_t>(cut));
  for (int32_t i = 0; i < batch.sequences(); ++i) {
    EXPECT_EQ(covered[static_cast<size_t>(i)], batch.tokens(i) * options.q_per_group);
  }
}

TEST(AttentionPlanTest, EveryRowAndTokenIsCoveredOnceWithinTheCapacity) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const Batch batch = RandomBatch(random);
    AttentionPlan plan(RandomOptions(random));
    plan.Make(batch.q_start, batch.kv_len);
    const AttentionPlanCapacity room = PlanCapacity(batch.capacity(), plan.options());
    EXPECT_LE(plan.items().size(), static_cast<size_t>(room.items));
    EXPECT_LE(plan.merges().size(), static_cast<size_t>(room.merges));
    CheckPlan(plan, batch);
    if (HasFatalFailure()) return;
  }
}

TEST(AttentionPlanTest, ItemsOfASizeAreSortedLongestFirst) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    const Batch batch = RandomBatch(random);
    AttentionPlan plan(RandomOptions(random));
    plan.Make(batch.q_start, batch.kv_len);
    for (int32_t size = 0; size < kAttentionTiles; ++size) {
      const auto begin = plan.items().begin() + plan.header().item_begin[size];
      EXPECT_TRUE(std::is_sorted(begin, begin + plan.header().item_count[size],
                                 [](const AttentionItem& a, const AttentionItem& b) {
                                   return a.kv_end - a.kv_begin > b.kv_end - b.kv_begin;
                                 }))
          << seed;
    }
  }
}

// With a split, ranges end at its multiples or a block takes all of them: which, depends on the
// batch, but no bit of the result does.
TEST(AttentionPlanTest, WithASplitEveryRangeIsOneSplitOrAll) {
  int apart = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const Batch batch = RandomBatch(random);
    AttentionPlanOptions options = RandomOptions(random);
    options.split = 512;
    AttentionPlan plan(options);
    plan.Make(batch.q_start, batch.kv_len);
    EXPECT_EQ(plan.header().item_count[1] + plan.header().item_count[2], 0);
    for (const AttentionItem& item : plan.items()) {
      if (item.slot < 0) continue;
      ++apart;
      EXPECT_EQ(item.kv_begin / options.split, (item.kv_end - 1) / options.split) << seed;
    }
  }
  EXPECT_GT(apart, 100);
}

TEST(AttentionPlanTest, AFewLongSequencesFillTheGpu) {
  Batch batch;
  batch.Add(32768, 1);
  batch.Add(32768, 1);
  AttentionPlan plan({.q_per_group = 4, .groups = 8, .resident_blocks = 396});
  plan.Make(batch.q_start, batch.kv_len);
  EXPECT_GE(plan.items().size(), 40u);  // of 50 blocks for each group
  EXPECT_LE(plan.items().size(), 50u);
}

TEST(AttentionPlanTest, ManySequencesAreLeftWholeExceptWhatWouldOutlastTheRest) {
  Batch batch;
  for (int i = 0; i < 64; ++i) batch.Add(1000, 1);
  AttentionPlan plan({.q_per_group = 4, .groups = 8, .resident_blocks = 396});
  plan.Make(batch.q_start, batch.kv_len);
  EXPECT_EQ(plan.items().size(), 64u);
  EXPECT_TRUE(plan.merges().empty());
  batch.Add(100000, 1);
  plan.Make(batch.q_start, batch.kv_len);
  EXPECT_EQ(plan.merges().size(), 1u);
  EXPECT_LT(plan.items().front().kv_end - plan.items().front().kv_begin, 8000);
}

TEST(AttentionPlanTest, TilesFollowTheNumberOfRows) {
  const auto counts = [](int32_t q, int32_t head_dim) {
    Batch batch;
    batch.Add(1000, q);
    AttentionPlan plan({.q_per_group = 4, .groups = 1, .head_dim = head_dim});
    plan.Make(batch.q_start, batch.kv_len);
    const int32_t* n = plan.header().item_count;
    return std::vector<int32_t>(n, n + kAttentionTiles);
  };
  EXPECT_EQ(counts(0, 128), (std::vector<int32_t>{0, 0, 0}));
  EXPECT_EQ(counts(4, 128), (std::vector<int32_t>{1, 0, 0}));
  EXPECT_EQ(counts(5, 128), (std::vector<int32_t>{0, 1, 0}));
  EXPECT_EQ(counts(16, 128), (std::vector<int32_t>{0, 1, 0}));
  EXPECT_EQ(counts(17, 128), (std::vector<int32_t>{0, 0, 1}));
  EXPECT_EQ(counts(100, 128), (std::vector<int32_t>{0, 0, 4}));
  EXPECT_EQ(counts(100, 256), (std::vector<int32_t>{0, 7, 0}));  // 64 rows are the most
}

}  // namespace
}  // namespace quire::kernels::cuda
