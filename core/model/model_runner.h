#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/model/batch_input.h"
#include "kernels/api/views.h"

namespace quire {

// Bytes of the device's memory, and what is in them.
struct RunnerMemory {
  int64_t weights = 0;
  int64_t workspace = 0;  // activations, inputs of steps, and what the operations work in
  int64_t graphs = 0;     // as far as the device can tell
};

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

  virtual RunnerMemory memory() const = 0;
};

}  // namespace quire
