#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/model/batch_input.h"
#include "kernels/api/views.h"

namespace quire {

// Runs the model on one device, one step at a time, in launch order. Engine thread only.
//
//   LaunchForward(a) LaunchSample(a) [LaunchForward(b) LaunchSample(b)] Complete() -> a's tokens
//
// At most in_flight_depth() + 1 steps are launched and not completed. A BatchInput is not needed
// after the call that it is given to. Any error means that the device has failed: no further call
// is made.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Steps that may be launched before the oldest has completed: 0 on the CPU, 1 on CUDA.
  virtual int in_flight_depth() const = 0;

  virtual absl::Status LaunchForward(const BatchInput& input) = 0;
  virtual absl::Status LaunchSample(const BatchInput& input) = 0;
  // Waits for the oldest launched step; one entry a logit row, valid until the next Complete().
  virtual absl::StatusOr<std::span<const kernels::SampledToken>> Complete() = 0;
  // What a logit row of that step reports besides, the likeliest id first: at least as many entries
  // as it asked for, the unused ones with id -1. Valid as long.
  virtual std::span<const kernels::TokenLogprob> Alternatives(int32_t row) const = 0;
};

}  // namespace quire
