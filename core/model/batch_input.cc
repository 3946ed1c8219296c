#include "core/model/batch_input.h"

#include "core/base/check.h"

namespace quire {
namespace {

void Clear(BatchInput* input) {
  input->token_ids.clear();
  input->positions.clear();
  input->q_start.assign(1, 0);
  input->kv_len.clear();
  for (BlockTables& tables : input->tables) {
    tables.start.assign(1, 0);
    tables.offsets.clear();
  }
  input->logit_rows.clear();
  input->sampling.clear();
  input->history.clear();
  input->allowed.clear();
}

void AddTokens(const SequenceStep& step, BatchInput* input) {
  QUIRE_CHECK(step.num_tokens >= 1 && step.start >= 0);
  if (step.feedback_row >= 0) {
    QUIRE_CHECK(step.num_tokens == 1 && step.tokens.empty());
    input->token_ids.push_back(-1 - step.feedback_row);
  } else {
    QUIRE_CHECK(step.tokens.size() == static_cast<size_t>(step.num_tokens));
    input->token_ids.insert(input->token_ids.end(), step.tokens.begin(), step.tokens.end());
  }
  for (int32_t i = 0; i < step.num_tokens; ++i) input->positions.push_back(step.start + i);
  input->q_start.push_back(static_cast<int32_t>(input->token_ids.size()));
  input->kv_len.push_back(step.start + step.num_tokens);
}

void AddBlocks(const SequenceStep& step, std::span<const BlockAddressing> addressing,
               BatchInput* input) {
  for (size_t c = 0; c < addressing.size(); ++c) {
    BlockTables& tables = input->tables[c];
    for (const BlockId block : step.blocks[c]) {
      tables.offsets.push_back(block == kNoBlock ? kNoBlockOffset
                                                 : addressing[c].OffsetUnits(block));
    }
    tables.start.push_back(static_cast<int32_t>(tables.offsets.size()));
  }
}

void AddTargets(const SequenceStep& step, BatchInput* input) {
  QUIRE_CHECK(step.targets.size() == static_cast<size_t>(step.num_targets) &&
              step.num_targets <= step.num_tokens);
  const int32_t first = input->q_start.back() - step.num_tokens;
  for (int32_t i = 0; i < step.num_targets; ++i) {
    kernels::SamplingRow& row = input->sampling.emplace_back();
    row.target = step.targets[static_cast<size_t>(i)];
    row.alternatives = step.target_alternatives;
    input->logit_rows.push_back(first + i);
  }
}

void AddSample(const SequenceStep& step, BatchInput* input) {
  input->logit_rows.push_back(input->q_start.back() - 1);
  kernels::SamplingRow row = step.sampling;
  row.history_start = static_cast<int32_t>(input->history.size());
  row.history_count = static_cast<int32_t>(step.history.size());
  row.history_generated = step.history_generated;
  row.history_row = step.feedback_row;
  row.allowed_start = static_cast<int32_t>(input->allowed.size());
  row.allowed_count = static_cast<int32_t>(step.allowed.size());
  row.edits_start = step.edits_start;
  row.edits_count = step.edits_count;
  input->sampling.push_back(row);
  input->history.insert(input->history.end(), step.history.begin(), step.history.end());
  input->allowed.insert(input->allowed.end(), step.allowed.begin(), step.allowed.end());
}

}  // namespace

void BuildBatchInput(const StepPlan& plan, std::span<const BlockAddressing> addressing,
                     BatchInput* input) {
  QUIRE_CHECK(!addressing.empty() && addressing.size() <= input->tables.size());
  Clear(input);
  input->num_classes = static_cast<int32_t>(addressing.size());
  input->step = plan.id;
  for (const SequenceStep& step : plan.sequences) {
    AddTokens(step, input);
    AddBlocks(step, addressing, input);
    AddTargets(step, input);
    if (step.sample) AddSample(step, input);
  }
  input->edits.assign(plan.edits.begin(), plan.edits.end());
  input->counts = {.tokens = static_cast<int32_t>(input->token_ids.size()),
                   .sequences = static_cast<int32_t>(plan.sequences.size()),
                   .logit_rows = static_cast<int32_t>(input->logit_rows.size())};
  QUIRE_CHECK(input->counts.tokens == plan.num_tokens) << plan.num_tokens << " tokens planned";
  QUIRE_CHECK(input->counts.logit_rows == plan.num_logit_rows)
      << plan.num_logit_rows << " logit rows planned";
}

}  // namespace quire
