#include <cstring>
#include <deque>
#include <map>
#include <random>

#include "core/kv/kv_cache_manager.h"
#include "gmock/gmock.h"
#include "tests/unit/core/kv/swap_fixture.h"

// Random admissions, steps, swaps, ends and completions on a GPU whose two queues run as far apart
// as events allow. A step writes the KV of its tokens, which says whose it is, and reads all KV
// that its sequences see, in the GPU's stream of work: whatever is copied, written or read out of
// order, or to a block that is another's, is found where the step completes.
//
// Each of these faults, planted one at a time, fails this test:
//   a copy out does not wait for compute
//   compute does not wait for what has not arrived
//   a copy in overtakes the copy out of its slot
//   a copy counts as ended as soon as it has begun
//   a block that was swapped out is free before it is copied, or before its last step completes
//   a block of a sequence that ends on its way in is free before its copy ends

namespace quire {
namespace {

constexpr int kDepth = 1;
constexpr int kTokensAStep = 20;
constexpr int kMaxTokens = 150;
constexpr size_t kTokenBytes = 16;
constexpr size_t kArenaBytes = 24 * 512;
constexpr size_t kSlabBytes = 512;

// Every third walk has windowed layers alone, so that a window passes the first block of a swap.
KvLayouts Layouts(uint64_t seed) {
  const KvLayout windowed = SwapLayout(32, /*window=*/37);
  return seed % 3 == 0 ? KvLayouts{windowed} : KvLayouts{SwapLayout(16), windowed};
}

// The KV of one token in one cache class.
struct Cell {
  uint32_t sequence;
  int32_t position;
  uint64_t cache_class;
  friend bool operator==(const Cell&, const Cell&) = default;
};
static_assert(sizeof(Cell) == kTokenBytes);

class SwapWalk {
 public:
  SwapWalk(uint64_t seed, QueueOrder order)
      : rng_(seed),
        gpu_(Layouts(seed), kArenaBytes,
             {.host_bytes = static_cast<size_t>(Uniform(2, 30)) * kSlabBytes,
              .max_bytes_under_way = static_cast<size_t>(Uniform(0, 6)) * kSlabBytes},
             {.seed = seed, .order = order}),
        arena_(kArenaBytes, kSlabBytes),
        kv_(Layouts(seed), &arena_, kTokensAStep * (kDepth + 1)) {
    kv_.SetSwapper(gpu_.TakeSwapper());
    for (Step& step : steps_) {
      step.written = gpu_.HostMemory(kArenaBytes);
      step.read = gpu_.HostMemory(4 * kArenaBytes);
    }
  }

  void Run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      switch (Uniform(0, 8)) {
        case 0:
          Admit();
          break;
        case 1:
        case 2:
          Launch();
          break;
        case 3:
          CompleteOldest();
          break;
        case 4:
        case 5:
          SwapOutOne();
          break;
        case 6:
          SwapInOne();
          break;
        case 7:
          Nudge();
          break;
        case 8:
          if (Uniform(0, 1) == 0) EndOne();
          break;
      }
      ASSERT_THAT(kv_.CheckInvariants(), ::testing::IsEmpty()) << "operation " << i;
    }
    EndEverything();
  }

  int swaps_in() const { return swaps_in_; }
  int64_t cells_read() const { return cells_read_; }

 private:
  struct Live {
    int64_t max_tokens = 0;
    int64_t tokens = 0;
    bool out = false;
    uint64_t out_since = 0;  // the step launched last before it went out
  };
  struct Need {
    uint64_t id = 0;
    int64_t tokens = 0;
  };
  // A step on its way, and the memory that it is copied from and to.
  struct Step {
    kernels::HostBuffer written;
    kernels::HostBuffer read;
    size_t bytes_written = 0;
    std::vector<Cell> expected;  // of `read`
    std::vector<Need> needs;
    std::unique_ptr<kernels::Event> done;
  };

  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }
  uint64_t AnyLive() {
    return std::next(live_.begin(), Uniform(0, static_cast<int>(live_.size()) - 1))->first;
  }

  void Admit() {
    const int64_t max_tokens = Uniform(1, kMaxTokens);
    if (!kv_.Budget().TryTake(kv_.PromiseFor(max_tokens))) return;
    kv_.Admit(SequenceId(++next_id_), max_tokens);
    live_[next_id_].max_tokens = max_tokens;
  }

  void Launch() {
    if (launched_ - completed_ > kDepth) CompleteOldest();
    std::vector<Need> needs;
    std::vector<KvNeed> kv_needs;
    for (const auto& [id, live] : live_) {
      if (live.out || Uniform(0, 2) == 0) continue;
      const auto room =
          static_cast<int>(std::min<int64_t>(live.max_tokens - live.tokens, kTokensAStep));
      needs.push_back({id, live.tokens + Uniform(0, room)});
      kv_needs.push_back({SequenceId(id), needs.back().tokens});
    }
    KvReservation reservation = kv_.Reserve(kv_needs);
    if (Uniform(0, 5) == 0) return;  // rolled back
    Step& step = steps_[++launched_ % std::size(steps_)];
    step.bytes_written = 0;
    step.expected.clear();
    step.needs = needs;
    for (const Need& need : needs) ComputeSequence(need, &step);
    step.done = gpu_.device().RecordEvent();
    reservation.Commit();
    for (const Need& need : needs) live_[need.id].tokens = need.tokens;
  }

  void ComputeSequence(const Need& need, Step* step) {
    for (size_t c = 0; c < kv_.num_classes(); ++c) {
      for (int64_t p = live_.at(need.id).tokens; p < need.tokens; ++p) {
        const Cell cell{static_cast<uint32_t>(need.id), static_cast<int32_t>(p), c};
        std::byte* const from = step->written.data() + step->bytes_written;
        std::memcpy(from, &cell, kTokenBytes);
        gpu_.device().CopyToDevice(DataOf(need.id, c, p), from, kTokenBytes);
        step->bytes_written += kTokenBytes;
      }
      const KvLayout& layout = kv_.cache_class(c).layout();
      const int32_t block_tokens = layout.block_tokens;
      // Not from the first block that it holds: a step before may still be about to pass that.
      int64_t p = int64_t{layout.PassedBlocks(live_.at(need.id).tokens)} * block_tokens;
      while (p < need.tokens) {
        const int64_t end = std::min((p / block_tokens + 1) * block_tokens, need.tokens);
        gpu_.device().CopyToHost(step->read.as<Cell>() + step->expected.size(),
                                 DataOf(need.id, c, p), static_cast<size_t>(end - p) * kTokenBytes);
        for (; p < end; ++p) {
          step->expected.push_back({static_cast<uint32_t>(need.id), static_cast<int32_t>(p), c});
        }
      }
    }
  }

  std::byte* DataOf(uint64_t id, size_t cache_class, int64_t position) {
    const KvClassCache& cache = kv_.cache_class(cache_class);
    const int32_t block_tokens = cache.layout().block_tokens;
    const BlockId block =
        kv_.Table(SequenceId(id), cache_class).blocks[static_cast<size_t>(position / block_tokens)];
    return gpu_.arena() + cache.OffsetOf(block) +
           static_cast<size_t>(position % block_tokens) * kTokenBytes;
  }

  void CompleteOldest() {
    if (completed_ == launched_) return;
    Step& step = steps_[++completed_ % std::size(steps_)];
    step.done->Wait();
    for (size_t i = 0; i < step.expected.size(); ++i) {
      const Cell& got = step.read.as<Cell>()[i];
      const Cell& expected = step.expected[i];
      ASSERT_EQ(got, expected) << "step " << completed_ << ", sequence " << expected.sequence
                               << ", position " << expected.position << ", class "
                               << expected.cache_class << ": found sequence " << got.sequence
                               << ", position " << got.position << ", class " << got.cache_class;
    }
    cells_read_ += static_cast<int64_t>(step.expected.size());
    kv_.StepCompleted(StepId(completed_));
    for (const Need& need : step.needs) {
      if (live_.contains(need.id)) kv_.Pass(SequenceId(need.id), need.tokens);
    }
  }

  void SwapOutOne() {
    if (live_.empty()) return;
    const uint64_t id = AnyLive();
    Live& live = live_[id];
    if (live.out || !kv_.SwapOut(SequenceId(id), StepId(launched_))) return;
    live.out = true;
    live.out_since = launched_;
    if (Uniform(0, 5) == 0) End(id);  // as a cancel that crosses the decision
  }

  void SwapInOne() {
    if (live_.empty()) return;
    const uint64_t id = AnyLive();
    Live& live = live_[id];
    if (!live.out) return;
    while (completed_ < live.out_since) CompleteOldest();
    if (!kv_.Budget().TryTake(kv_.SwappedPromise(SequenceId(id)))) return;
    kv_.SwapIn(SequenceId(id));
    live.out = false;
    ++swaps_in_;
  }

  // Looks, waits, or keeps a queue busy.
  void Nudge() {
    switch (Uniform(0, 3)) {
      case 0:
        kv_.TakeTransfers();
        return;
      case 1:
        kv_.WaitForTransfer();
        return;
      case 2:
        return gpu_.DelayCompute();
      case 3:
        return gpu_.DelayTransfers();
    }
  }

  void EndOne() {
    if (!live_.empty()) End(AnyLive());
  }
  void End(uint64_t id) {
    kv_.Free(SequenceId(id), StepId(launched_));
    live_.erase(id);
  }

  void EndEverything() {
    while (!live_.empty()) EndOne();
    while (completed_ < launched_ && !::testing::Test::HasFailure()) CompleteOldest();
    while (kv_.WaitForTransfer()) continue;
    EXPECT_THAT(kv_.CheckInvariants(), ::testing::IsEmpty());
    EXPECT_TRUE(kv_.swapper()->host().AllFree());
    EXPECT_EQ(arena_.free_slabs(), arena_.num_slabs());
  }

  std::mt19937_64 rng_;
  SwapGpu gpu_;
  SlabArena arena_;
  Step steps_[kDepth + 1];  // before kv_: its swapper waits for copies, not for steps
  KvCacheManager kv_;
  std::map<uint64_t, Live> live_;
  uint64_t next_id_ = 0, launched_ = 0, completed_ = 0;
  int swaps_in_ = 0;
  int64_t cells_read_ = 0;
};

TEST(KvSwapRandomTest, EveryStepReadsWhatItsSequencesWrote) {
  int swaps_in = 0;
  int64_t cells = 0;
  for (uint64_t seed = 1; seed <= 150 && !HasFailure(); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    SwapWalk walk(seed, kQueueOrders[seed % std::size(kQueueOrders)]);
    walk.Run(2500);
    swaps_in += walk.swaps_in();
    cells += walk.cells_read();
  }
  if (HasFailure()) return;
  EXPECT_GT(swaps_in, 10'000);
  EXPECT_GT(cells, 500'000);
}

}  // namespace
}  // namespace quire
