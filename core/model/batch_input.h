#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/step_plan.h"
#include "kernels/api/views.h"

namespace quire {

// A step as flat arrays in host memory, laid out as kernels::BatchView wants them. Buffers are
// reused from step to step, so a steady state allocates nothing.
struct BatchInput {
  StepId step;
  kernels::BatchCounts counts;
  std::vector<int32_t> token_ids;              // [tokens]; -1 - r: fed back from logit row r
  std::vector<int32_t> positions;              // [tokens]
  std::vector<int32_t> q_start;                // [sequences + 1]
  std::vector<int32_t> kv_len;                 // [sequences]
  std::vector<int32_t> table_start;            // [sequences + 1]
  std::vector<uint32_t> block_offsets;         // [table_start.back()] units of kKvOffsetUnit
  std::vector<int32_t> logit_rows;             // [logit_rows]
  std::vector<kernels::SamplingRow> sampling;  // [logit_rows]
  std::vector<int32_t> history;                // ids the sampling rows point into
};

// Overwrites `input` with the plan's arrays. The n-th sampling sequence of the plan becomes the
// n-th logit row.
void BuildBatchInput(const StepPlan& plan, const BlockAddressing& addressing, BatchInput* input);

}  // namespace quire
