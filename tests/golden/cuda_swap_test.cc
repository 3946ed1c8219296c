#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>

#include "core/base/check.h"
#include "core/capacity/model_kv_layout.h"
#include "core/kv/kv_cache_manager.h"
#include "core/model/transformer_runner.h"
#include "core/model/weight_source.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_device.h"
#include "tests/golden/golden_logits.h"
#include "tests/support/simt/emulated_runtime.h"

// A sequence whose KV goes to host memory and back while others run ends as if nothing had
// happened, on whole models and with steps in flight.

namespace quire::testing {
namespace {

using kernels::simt::EmulatedGpuOptions;
using kernels::simt::QueueOrder;

constexpr int32_t kMaxTokens = 64;
constexpr int32_t kMaxSequences = 3;
constexpr int32_t kSlabs = 24;

template <typename T>
T Must(absl::StatusOr<T> value) {
  QUIRE_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

// What an undisturbed run must have as well: the bits of a logprob follow from all logits.
struct Answer {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> logprob_bits;
  friend bool operator==(const Answer&, const Answer&) = default;
};

// A model, its KV and a swapper on one GPU; steps are launched one ahead, as an engine does.
class SwappingModel {
 public:
  SwappingModel(const std::string& model, QueueOrder order) {
    kernels::DeviceStatus status;
    device_ = kernels::cuda::MakeCudaDevice(
        kernels::simt::MakeTestGpu(EmulatedGpuOptions{.seed = 3, .order = order}),
        /*batch_invariant=*/true, &status);
    QUIRE_CHECK(device_ != nullptr) << status.message();
    const ModelConfig config = Must(LoadModelConfig(GoldenModelDir(model)));
    const KvLayouts layouts = MakeKvLayouts(config, 16, kernels::DType::kBF16, kMaxTokens);
    AllocateKv(layouts);
    const auto source = Must(CheckpointSource::Open(GoldenModelDir(model)));
    ModelWeights weights =
        Must(LoadWeights(config, source.get(), device_.get(), kernels::DType::kBF16, nullptr));
    runner_ = Must(TransformerRunner::Create(device_.get(), config, std::move(weights),
                                             ModelLayerViews(layouts, arena_memory_.data()),
                                             {.capacity = {.tokens = kMaxSequences * kMaxTokens,
                                                           .sequences = kMaxSequences,
                                                           .table_entries = kMaxSequences * 8,
                                                           .logit_rows = kMaxSequences},
                                              .max_context = kMaxTokens}));
  }
  ~SwappingModel() { Finish(); }

  KvCacheManager& kv() { return *kv_; }
  StepId last_launched() const { return StepId(launched_); }

  void Admit(uint64_t id, std::vector<TokenId> prompt) {
    kv_->Admit(SequenceId(id), kMaxTokens);
    sequences_[id].known = std::move(prompt);
  }
  // One token of each, or its prompt.
  void Launch(const std::vector<uint64_t>& ids) {
    std::vector<KvNeed> needs;
    for (const uint64_t id : ids) {
      const Sequence& sequence = sequences_.at(id);
      needs.push_back({SequenceId(id), sequence.launched + TokensOf(sequence)});
    }
    KvReservation reservation = kv_->Reserve(needs);
    in_flight_.push_back(Plan(ids));
    BatchInput input;
    const auto addressing = Addressing();
    BuildBatchInput(in_flight_.back(), std::span(addressing).first(kv_->num_classes()), &input);
    QUIRE_CHECK(runner_->LaunchForward(input).ok());
    QUIRE_CHECK(runner_->LaunchSample(input).ok());
    reservation.Commit();
    if (in_flight_.size() > 1) CompleteOldest();
  }
  void Finish() {
    while (!in_flight_.empty()) CompleteOldest();
  }
  const Answer& AnswerOf(uint64_t id) { return sequences_.at(id).answer; }
  std::vector<BlockId> Blocks(uint64_t id) const { return kv_->Table(SequenceId(id)).blocks; }

 private:
  struct Sequence {
    std::vector<TokenId> known;
    int32_t launched = 0;
    int32_t row = -1;  // in the last step that it was in
    Answer answer;
  };

  void AllocateKv(const KvLayouts& layouts) {
    size_t slab_bytes = 0;
    for (const KvLayout& layout : layouts) slab_bytes = std::max(slab_bytes, layout.BlockBytes());
    QUIRE_CHECK(device_->Allocate(kSlabs * slab_bytes, &arena_memory_).ok());
    arena_ = std::make_unique<SlabArena>(kSlabs * slab_bytes, slab_bytes);
    kv_ = std::make_unique<KvCacheManager>(layouts, arena_.get(), kMaxTokens);
    kv_->SetSwapper(Must(
        BlockSwapper::Create(device_.get(), arena_memory_.data(), layouts,
                             {.host_bytes = 8 * slab_bytes, .max_bytes_under_way = slab_bytes})));
  }
  static int32_t TokensOf(const Sequence& sequence) {
    return sequence.launched == 0 ? static_cast<int32_t>(sequence.known.size()) : 1;
  }

  StepPlan Plan(const std::vector<uint64_t>& ids) {
    StepPlan plan;
    plan.id = StepId(++launched_);
    for (const uint64_t id : ids) {
      Sequence& sequence = sequences_.at(id);
      SequenceStep step;
      step.sequence = SequenceId(id);
      step.start = sequence.launched;
      step.num_tokens = TokensOf(sequence);
      step.sample = true;
      if (static_cast<size_t>(step.start) < sequence.known.size()) {
        step.tokens = std::span(sequence.known).subspan(static_cast<size_t>(step.start));
      } else {
        step.feedback_row = sequence.row;
      }
      for (size_t c = 0; c < kv_->num_classes(); ++c) {
        step.blocks[c] = kv_->Table(SequenceId(id), c).blocks;
      }
      sequence.launched += step.num_tokens;
      sequence.row = plan.num_logit_rows++;
      plan.num_tokens += step.num_tokens;
      plan.sequences.push_back(step);
    }
    return plan;
  }
  std::array<BlockAddressing, kernels::kMaxCacheClasses> Addressing() const {
    std::array<BlockAddressing, kernels::kMaxCacheClasses> addressing;
    for (size_t c = 0; c < kv_->num_classes(); ++c) {
      addressing[c] = {.units_per_block = kv_->cache_class(c).units_per_block(),
                       .blocks_per_slab = kv_->cache_class(c).blocks_per_slab(),
                       .slab_units = kv_->cache_class(c).slab_units()};
    }
    return addressing;
  }
  void CompleteOldest() {
    const auto sampled = Must(runner_->Complete());
    const StepPlan plan = std::move(in_flight_.front());
    in_flight_.pop_front();
    kv_->StepCompleted(plan.id);
    for (size_t i = 0; i < plan.sequences.size(); ++i) {
      const SequenceStep& step = plan.sequences[i];
      Sequence& sequence = sequences_.at(step.sequence.value());
      sequence.known.push_back(sampled[i].token_id);
      sequence.answer.tokens.push_back(sampled[i].token_id);
      uint32_t bits;
      std::memcpy(&bits, &sampled[i].logprob, sizeof(bits));
      sequence.answer.logprob_bits.push_back(bits);
      kv_->Pass(step.sequence, step.start + step.num_tokens);
    }
  }

  std::unique_ptr<kernels::Device> device_;
  kernels::DeviceBuffer arena_memory_;
  std::unique_ptr<SlabArena> arena_;
  std::unique_ptr<KvCacheManager> kv_;
  std::unique_ptr<TransformerRunner> runner_;
  std::map<uint64_t, Sequence> sequences_;
  std::deque<StepPlan> in_flight_;
  uint64_t launched_ = 0;
};

const std::vector<TokenId> kPrompts[] = {
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19},
    {9, 8, 7},
    {5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1, 6, 5}};

struct Case {
  const char* name;
  const char* model;
  QueueOrder order;
};

class CudaSwapTest : public ::testing::TestWithParam<Case> {};

// Full attention, and layers with and without a window.
INSTANTIATE_TEST_SUITE_P(
    Models, CudaSwapTest,
    ::testing::Values(Case{"demo_as_needed", "quire-demo", QueueOrder::kAsNeeded},
                      Case{"demo_random", "quire-demo", QueueOrder::kRandom},
                      Case{"mha_compute_first", "mha", QueueOrder::kComputeFirst},
                      Case{"windows_transfers_first", "gemma3_two_ropes",
                           QueueOrder::kTransfersFirst},
                      Case{"windows_as_needed", "gemma3_two_ropes", QueueOrder::kAsNeeded}),
    [](const auto& suite) { return std::string(suite.param.name); });

// The same steps with and without the swap, so that every product has the same shape.
std::vector<Answer> AnswersOf(const Case& test, bool swap) {
  SwappingModel model(test.model, test.order);
  KvCacheManager& kv = model.kv();
  model.Admit(1, kPrompts[0]);
  model.Admit(2, kPrompts[1]);
  for (int i = 0; i < 7; ++i) model.Launch({1, 2});
  const std::vector<BlockId> before = model.Blocks(1);
  if (swap) {
    EXPECT_TRUE(kv.SwapOut(SequenceId(1), model.last_launched())) << "which is in flight";
  }
  model.Launch({2});
  while (kv.WaitForTransfer()) continue;
  model.Admit(3, kPrompts[2]);  // takes the blocks that 1 had
  for (int i = 0; i < 4; ++i) model.Launch({2, 3});
  if (swap) {
    kv.SwapIn(SequenceId(1));
    EXPECT_NE(model.Blocks(1), before);
    EXPECT_FALSE(kv.HasArrived(SequenceId(1)));
  }
  for (int i = 0; i < 7; ++i) model.Launch({2, 1, 3});
  model.Finish();
  while (kv.WaitForTransfer()) continue;
  EXPECT_TRUE(kv.swapper()->host().AllFree());
  EXPECT_TRUE(kv.CheckInvariants().empty());
  return {model.AnswerOf(1), model.AnswerOf(2), model.AnswerOf(3)};
}

TEST_P(CudaSwapTest, AnswersAreTheBitsOfAnUndisturbedRun) {
  const std::vector<Answer> swapped = AnswersOf(GetParam(), true);
  EXPECT_EQ(swapped, AnswersOf(GetParam(), false));
  EXPECT_EQ(swapped[0].tokens.size(), 14u);
}

}  // namespace
}  // namespace quire::testing
