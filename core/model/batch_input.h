#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/plan/step_plan.h"
#include "kernels/api/views.h"

namespace quire {

// What a block table holds for a block that is gone: no byte of any arena is there.
inline constexpr uint32_t kNoBlockOffset = UINT32_MAX;

// The block tables of one cache class in a step.
struct BlockTables {
  std::vector<int32_t> start;     // [sequences + 1]
  std::vector<uint32_t> offsets;  // [start.back()] units of kKvOffsetUnit
};

// A step as flat arrays in host memory, laid out as kernels::BatchView wants them. Buffers are
// reused from step to step, so a steady state allocates nothing.
struct BatchInput {
  StepId step;
  kernels::BatchCounts counts;
  std::vector<int32_t> token_ids;  // [tokens]; -1 - r: fed back from logit row r
  std::vector<int32_t> positions;  // [tokens]
  std::vector<int32_t> q_start;    // [sequences + 1]
  std::vector<int32_t> kv_len;     // [sequences]
  std::array<BlockTables, kernels::kMaxCacheClasses> tables;
  int32_t num_classes = 0;
  std::vector<int32_t> logit_rows;             // [logit_rows]
  std::vector<kernels::SamplingRow> sampling;  // [logit_rows]
  std::vector<int32_t> history;                // these three: what the sampling rows point into
  std::vector<kernels::LogitEdit> edits;
  std::vector<int32_t> allowed;
};

// Overwrites `input` with the plan's arrays; `addressing` holds one entry a cache class. Logit rows
// come in the order of the plan's sequences, a sequence's targets before its sample.
void BuildBatchInput(const StepPlan& plan, std::span<const BlockAddressing> addressing,
                     BatchInput* input);

}  // namespace quire
