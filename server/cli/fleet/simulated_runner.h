#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/model/model_runner.h"
#include "server/cli/fleet/step_time_model.h"
#include "server/cli/fleet/virtual_clock.h"

namespace quire::cli {

// What a launched batch computes. Of rows that begin with the same block, each is compared with the
// first.
StepWork WorkOf(const BatchInput& input, int32_t block_tokens);

// Computes nothing: a step takes the time that the model says, on the replica's clock, and draws
// token 0 in every row. Of in-flight depth 0, as a CPU. One thread.
class SimulatedRunner final : public ModelRunner {
 public:
  // Both must outlive the runner. `overhead`: of each step, outside the model.
  SimulatedRunner(const StepTimeModel* times, int32_t block_tokens, Duration overhead,
                  VirtualClock* clock)
      : times_(times), block_tokens_(block_tokens), overhead_(overhead), clock_(clock) {}

  int in_flight_depth() const override { return 0; }
  absl::Status LaunchForward(const BatchInput& input) override;
  absl::Status LaunchSample(const BatchInput&) override { return absl::OkStatus(); }
  absl::StatusOr<std::span<const kernels::SampledToken>> Complete() override;
  std::span<const kernels::TokenLogprob> Alternatives(int32_t) const override { return {}; }
  RunnerMemory memory() const override { return {}; }

 private:
  const StepTimeModel* const times_;
  const int32_t block_tokens_;
  const Duration overhead_;
  VirtualClock* const clock_;
  Duration duration_{};                         // of the step that was launched
  std::vector<kernels::SampledToken> sampled_;  // by it
};

}  // namespace quire::cli
