#include "server/cli/fleet/simulated_runner.h"

#include <algorithm>

namespace quire::cli {
namespace {

// Whatever the coefficients say, time goes on.
constexpr Duration kShortestStep = std::chrono::microseconds(1);

}  // namespace

StepWork WorkOf(const BatchInput& input) {
  StepWork work;
  for (size_t s = 0; s < input.kv_len.size(); ++s) {
    const int32_t tokens = input.q_start[s + 1] - input.q_start[s];
    work.Add(input.kv_len[s] - tokens, tokens);
  }
  return work;
}

absl::Status SimulatedRunner::LaunchForward(const BatchInput& input) {
  const Duration model = FromSeconds(times_->Seconds(WorkOf(input)));
  duration_ = std::max(model + overhead_, kShortestStep);
  sampled_.assign(static_cast<size_t>(input.counts.logit_rows), {.token_id = 0});
  return absl::OkStatus();
}

absl::StatusOr<std::span<const kernels::SampledToken>> SimulatedRunner::Complete() {
  clock_->AdvanceTo(clock_->Now() + duration_);
  return std::span<const kernels::SampledToken>(sampled_);
}

}  // namespace quire::cli
