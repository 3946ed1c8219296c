#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/request/sampling_params.h"

namespace quire {

// Bounds on the engine's work. Each is a server flag.
struct EngineOptions {
  int32_t max_step_tokens = 512;          // query tokens a step: decode rows and prefill chunks
  int32_t max_running_requests = 128;     // sequences in one step
  int32_t max_scored_tokens = 64;         // prompt tokens a step whose logprobs are reported
  int32_t max_prefill_beside_decode = 0;  // prompt tokens a step beside decode rows; 0: no limit
  int32_t max_queued_requests = 1024;     // accepted, not yet running; beyond: RESOURCE_EXHAUSTED
  int64_t max_queued_tokens = 1 << 20;    // prompt tokens of those together
  int32_t max_context_tokens = 0;         // prompt + output of one request; set from the model
  // See SchedulerOptions.
  bool overcommit = false;
  int32_t max_preemptions = 4;
  Duration ageing = std::chrono::seconds(10);
  int32_t max_prefix_wait_steps = 32;
  // How long a paused request keeps its place and its KV: see Engine::SetPaused.
  Duration pause_grace = std::chrono::seconds(1);
  SamplingLimits sampling;  // that requests keep to; what a step holds follows from them

  // Rows of logits that one step may need.
  int32_t MaxLogitRows() const {
    return max_running_requests + std::min(max_scored_tokens, max_step_tokens);
  }

  absl::Status Validate() const;
  // Tokens of one sequence that the steps on their way may compute, on a device that lets
  // `in_flight_depth` steps be launched before the oldest has completed.
  int64_t InFlightTokens(int in_flight_depth) const {
    return int64_t{max_step_tokens} * (in_flight_depth + 1);
  }
};

}  // namespace quire
