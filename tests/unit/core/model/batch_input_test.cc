#include "core/model/batch_input.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Blocks of 3 units, 4 a slab; the pool's slabs start at these units.
constexpr uint32_t kSlabs[] = {100, 40};
const BlockAddressing kAddressing = {
    .units_per_block = 3, .blocks_per_slab = 4, .slab_units = kSlabs};

class BuildBatchInputTest : public ::testing::Test {
 protected:
  // A prefill chunk of 3 tokens from position 16 on that ends its prompt.
  SequenceStep Chunk() const {
    SequenceStep step;
    step.start = 16;
    step.num_tokens = 3;
    step.sample = true;
    step.tokens = chunk_tokens_;
    step.blocks[0] = chunk_blocks_;
    step.sampling.temperature = 0.5f;
    step.sampling.seed = 11;
    step.history = chunk_history_;
    return step;
  }
  // One decode token.
  SequenceStep Decode() const {
    SequenceStep step;
    step.start = 7;
    step.num_tokens = 1;
    step.sample = true;
    step.tokens = decode_tokens_;
    step.blocks[0] = decode_blocks_;
    step.sampling.seed = 12;
    step.history = decode_history_;
    return step;
  }
  StepPlan Plan(std::vector<SequenceStep> steps) const {
    StepPlan plan;
    plan.id = StepId(9);
    for (const SequenceStep& step : steps) {
      plan.num_tokens += step.num_tokens;
      plan.num_logit_rows += step.sample ? 1 : 0;
    }
    plan.sequences = std::move(steps);
    return plan;
  }

  std::vector<TokenId> chunk_tokens_ = {50, 51, 52};
  std::vector<TokenId> chunk_history_ = {1, 2, 3};
  std::vector<BlockId> chunk_blocks_ = {BlockId(0), BlockId(5)};
  std::vector<TokenId> decode_tokens_ = {60};
  std::vector<TokenId> decode_history_ = {4, 5};
  std::vector<BlockId> decode_blocks_ = {BlockId(3)};
  BatchInput input_;
};

TEST_F(BuildBatchInputTest, LaysSequencesOneAfterTheOther) {
  BuildBatchInput(Plan({Decode(), Chunk()}), {&kAddressing, 1}, &input_);
  EXPECT_EQ(input_.step, StepId(9));
  EXPECT_EQ(input_.counts.tokens, 4);
  EXPECT_EQ(input_.counts.sequences, 2);
  EXPECT_EQ(input_.counts.logit_rows, 2);
  EXPECT_THAT(input_.token_ids, ElementsAre(60, 50, 51, 52));
  EXPECT_THAT(input_.positions, ElementsAre(7, 16, 17, 18));
  EXPECT_THAT(input_.q_start, ElementsAre(0, 1, 4));
  EXPECT_THAT(input_.kv_len, ElementsAre(8, 19));
  EXPECT_THAT(input_.logit_rows, ElementsAre(0, 3));
}

TEST_F(BuildBatchInputTest, TurnsBlocksIntoOffsetsThroughTheirSlabs) {
  BuildBatchInput(Plan({Decode(), Chunk()}), {&kAddressing, 1}, &input_);
  EXPECT_THAT(input_.tables[0].start, ElementsAre(0, 1, 3));
  // Block 3 is the last of the first slab, block 5 the second of the second.
  EXPECT_THAT(input_.tables[0].offsets, ElementsAre(100 + 3 * 3, 100, 40 + 3));
}

TEST_F(BuildBatchInputTest, EveryCacheClassHasItsOwnTables) {
  const std::vector<uint32_t> other_slabs = {1000};
  const BlockAddressing addressing[] = {
      kAddressing, {.units_per_block = 5, .blocks_per_slab = 8, .slab_units = other_slabs}};
  const std::vector<BlockId> decode_window = {kNoBlock, BlockId(2)};
  const std::vector<BlockId> chunk_window = {BlockId(1), BlockId(0)};
  SequenceStep decode = Decode(), chunk = Chunk();
  decode.blocks[1] = decode_window;
  chunk.blocks[1] = chunk_window;
  BuildBatchInput(Plan({decode, chunk}), addressing, &input_);
  EXPECT_EQ(input_.num_classes, 2);
  EXPECT_THAT(input_.tables[0].start, ElementsAre(0, 1, 3));
  EXPECT_THAT(input_.tables[1].start, ElementsAre(0, 2, 4));
  EXPECT_THAT(input_.tables[1].offsets, ElementsAre(kNoBlockOffset, 1010, 1005, 1000));
  BuildBatchInput(Plan({Decode()}), {addressing, 1}, &input_);
  EXPECT_EQ(input_.num_classes, 1);
  EXPECT_THAT(input_.tables[1].offsets, IsEmpty()) << "nothing is left of the step before";
}

TEST_F(BuildBatchInputTest, GivesEachSamplingRowItsPartOfTheHistory) {
  BuildBatchInput(Plan({Decode(), Chunk()}), {&kAddressing, 1}, &input_);
  ASSERT_EQ(input_.sampling.size(), 2u);
  EXPECT_EQ(input_.sampling[0].seed, 12u);
  EXPECT_EQ(input_.sampling[0].history_start, 0);
  EXPECT_EQ(input_.sampling[0].history_count, 2);
  EXPECT_EQ(input_.sampling[1].seed, 11u);
  EXPECT_EQ(input_.sampling[1].temperature, 0.5f);
  EXPECT_EQ(input_.sampling[1].history_start, 2);
  EXPECT_EQ(input_.sampling[1].history_count, 3);
  EXPECT_THAT(input_.history, ElementsAre(4, 5, 1, 2, 3));
}

TEST_F(BuildBatchInputTest, ATokenFedBackFollowsTheHistory) {
  SequenceStep fed_back = Decode();
  fed_back.tokens = {};
  fed_back.feedback_row = 4;
  fed_back.history_generated = 1;
  BuildBatchInput(Plan({fed_back, Decode()}), {&kAddressing, 1}, &input_);
  EXPECT_EQ(input_.sampling[0].history_row, 4);
  EXPECT_EQ(input_.sampling[0].history_count, 2);
  EXPECT_EQ(input_.sampling[0].history_generated, 1);
  EXPECT_EQ(input_.sampling[1].history_row, -1);
  EXPECT_EQ(input_.sampling[1].history_generated, 0);
}

TEST_F(BuildBatchInputTest, GivesEachSamplingRowItsEditsAndAllowedIds) {
  const std::vector<kernels::LogitEdit> edits = {{7, -1, 1}, {8, -1, 2}, {9, 3, 4}};
  const std::vector<TokenId> allowed = {5, 6};
  SequenceStep first = Decode(), second = Chunk();
  first.edits_count = 2;
  second.edits_start = 2;
  second.edits_count = 1;
  second.allowed = allowed;
  StepPlan plan = Plan({first, second});
  plan.edits = edits;
  BuildBatchInput(plan, {&kAddressing, 1}, &input_);
  ASSERT_EQ(input_.edits.size(), 3u);
  EXPECT_EQ(input_.edits[2].after, 3);
  EXPECT_EQ(input_.sampling[0].edits_start, 0);
  EXPECT_EQ(input_.sampling[0].edits_count, 2);
  EXPECT_EQ(input_.sampling[0].allowed_count, 0);
  EXPECT_EQ(input_.sampling[1].edits_start, 2);
  EXPECT_EQ(input_.sampling[1].edits_count, 1);
  EXPECT_EQ(input_.sampling[1].allowed_start, 0);
  EXPECT_EQ(input_.sampling[1].allowed_count, 2);
  EXPECT_THAT(input_.allowed, ElementsAre(5, 6));
  BuildBatchInput(Plan({Decode()}), {&kAddressing, 1}, &input_);
  EXPECT_THAT(input_.edits, IsEmpty());
  EXPECT_THAT(input_.allowed, IsEmpty());
}

TEST_F(BuildBatchInputTest, ScoresTheFirstTokensOfAChunkBeforeItsSample) {
  const std::vector<TokenId> targets = {51, 52};
  SequenceStep scored = Chunk();
  scored.targets = targets;
  scored.num_targets = 2;
  scored.target_alternatives = 3;
  StepPlan plan = Plan({Decode(), scored});
  plan.num_logit_rows += 2;
  BuildBatchInput(plan, {&kAddressing, 1}, &input_);
  EXPECT_THAT(input_.logit_rows, ElementsAre(0, 1, 2, 3));
  ASSERT_EQ(input_.sampling.size(), 4u);
  for (size_t row : {size_t{1}, size_t{2}}) {
    EXPECT_EQ(input_.sampling[row].target, targets[row - 1]);
    EXPECT_EQ(input_.sampling[row].alternatives, 3);
    EXPECT_EQ(input_.sampling[row].history_count, 0);
  }
  EXPECT_EQ(input_.sampling[3].target, -1);
  EXPECT_EQ(input_.sampling[3].seed, 11u);
}

TEST_F(BuildBatchInputTest, WantsLogitsOfSamplingSequencesAlone) {
  SequenceStep inner_chunk = Chunk();
  inner_chunk.sample = false;
  BuildBatchInput(Plan({inner_chunk, Decode()}), {&kAddressing, 1}, &input_);
  EXPECT_THAT(input_.logit_rows, ElementsAre(3));
  ASSERT_EQ(input_.sampling.size(), 1u);
  EXPECT_EQ(input_.sampling[0].seed, 12u);
  EXPECT_THAT(input_.history, ElementsAre(4, 5));
}

TEST_F(BuildBatchInputTest, MarksATokenThatTheStepBeforeStillComputes) {
  SequenceStep fed_back = Decode();
  fed_back.tokens = {};
  fed_back.feedback_row = 0;
  SequenceStep fed_back_from_row_5 = fed_back;
  fed_back_from_row_5.feedback_row = 5;
  BuildBatchInput(Plan({fed_back, fed_back_from_row_5, Decode()}), {&kAddressing, 1}, &input_);
  EXPECT_THAT(input_.token_ids, ElementsAre(-1, -6, 60));
  EXPECT_THAT(input_.positions, ElementsAre(7, 7, 7));
}

TEST_F(BuildBatchInputTest, LeavesNothingOfTheStepBefore) {
  BuildBatchInput(Plan({Chunk(), Decode(), Chunk()}), {&kAddressing, 1}, &input_);
  SequenceStep inner_chunk = Chunk();
  inner_chunk.sample = false;
  BuildBatchInput(Plan({inner_chunk}), {&kAddressing, 1}, &input_);
  EXPECT_THAT(input_.token_ids, ElementsAre(50, 51, 52));
  EXPECT_THAT(input_.q_start, ElementsAre(0, 3));
  EXPECT_THAT(input_.tables[0].start, ElementsAre(0, 2));
  EXPECT_THAT(input_.kv_len, ElementsAre(19));
  EXPECT_THAT(input_.logit_rows, IsEmpty());
  EXPECT_THAT(input_.sampling, IsEmpty());
  EXPECT_THAT(input_.history, IsEmpty());
  EXPECT_EQ(input_.counts.logit_rows, 0);
}

TEST_F(BuildBatchInputTest, AllocatesNothingOnceItHasSeenTheLargestStep) {
  BuildBatchInput(Plan({Chunk(), Decode()}), {&kAddressing, 1}, &input_);
  const auto* ids = input_.token_ids.data();
  const auto* offsets = input_.tables[0].offsets.data();
  const auto* history = input_.history.data();
  BuildBatchInput(Plan({Decode()}), {&kAddressing, 1}, &input_);
  BuildBatchInput(Plan({Chunk(), Decode()}), {&kAddressing, 1}, &input_);
  EXPECT_EQ(input_.token_ids.data(), ids);
  EXPECT_EQ(input_.tables[0].offsets.data(), offsets);
  EXPECT_EQ(input_.history.data(), history);
}

TEST_F(BuildBatchInputTest, DiesOnAPlanThatContradictsItself) {
  StepPlan wrong_count = Plan({Decode()});
  wrong_count.num_tokens = 2;
  EXPECT_DEATH(BuildBatchInput(wrong_count, {&kAddressing, 1}, &input_), "tokens planned");
  SequenceStep short_tokens = Chunk();
  short_tokens.num_tokens = 4;
  EXPECT_DEATH(BuildBatchInput(Plan({short_tokens}), {&kAddressing, 1}, &input_), "check failed");
  SequenceStep fed_back = Chunk();
  fed_back.feedback_row = 0;
  EXPECT_DEATH(BuildBatchInput(Plan({fed_back}), {&kAddressing, 1}, &input_), "check failed");
}

}  // namespace
}  // namespace quire
