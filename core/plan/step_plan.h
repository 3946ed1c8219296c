#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/ids.h"
#include "kernels/api/views.h"

namespace quire {

// One sequence's part of a step. The spans point into the sequence and its block table and stay
// valid until the step has been turned into a BatchInput. Its logit rows: one for each target,
// then one for the sample.
struct SequenceStep {
  SequenceId sequence;
  TenantId tenant;         // whose it is
  int32_t start = 0;       // absolute position of the first query token
  int32_t num_tokens = 0;  // query tokens this step, >= 1
  bool prefill = false;    // prompt tokens, not a decode row
  bool sample = false;     // the last query token's logits become a new token
  int32_t num_targets =
      0;  // the first so many query tokens are scored: how likely is the next one?
  // >= 0: the (only) query token is the one sampled in this logit row of the step before, which
  // may still be running; `tokens` is empty then.
  int32_t feedback_row = -1;
  std::span<const TokenId> tokens;  // [num_tokens]
  // The sequence's tables, one a cache class, each covering start + num_tokens.
  std::array<std::span<const BlockId>, kernels::kMaxCacheClasses> blocks;

  std::span<const TokenId> targets;  // [num_targets]
  int32_t target_alternatives = 0;   // likeliest ids to report with each target
  kernels::SamplingRow sampling;     // what it points to is filled in with the batch
  // The known ids that penalties look at, the last `history_generated` of them generated; empty
  // without a penalty. A fed back token follows.
  std::span<const TokenId> history;
  int32_t history_generated = 0;
  std::span<const TokenId> allowed;  // ids that may be drawn; empty: all
  int32_t edits_start = 0;           // its part of StepPlan::edits
  int32_t edits_count = 0;
};

// What the scheduler decided for one step: decode rows first, then prefill chunks. The only thing
// that sched and model share.
struct StepPlan {
  StepId id;
  std::vector<SequenceStep> sequences;
  int32_t num_tokens = 0;      // query tokens of all sequences
  int32_t num_logit_rows = 0;  // targets and samples of all sequences
  std::span<const kernels::LogitEdit> edits;

  bool empty() const { return sequences.empty(); }
  int32_t PrefillTokens() const {
    int32_t tokens = 0;
    for (const SequenceStep& step : sequences) tokens += step.prefill ? step.num_tokens : 0;
    return tokens;
  }
};

// Translates the block ids of one cache class to byte offsets from the arena's start. Its blocks
// lie in slabs that need not be neighbours.
struct BlockAddressing {
  uint32_t units_per_block = 0;  // block bytes / kernels::kKvOffsetUnit
  uint32_t blocks_per_slab = 1;
  std::span<const uint32_t> slab_units;  // start of the class's n-th slab, in the same units

  uint32_t OffsetUnits(BlockId block) const {
    return slab_units[block.value() / blocks_per_slab] +
           block.value() % blocks_per_slab * units_per_block;
  }
};

}  // namespace quire
