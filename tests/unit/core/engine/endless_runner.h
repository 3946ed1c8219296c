#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/model_runner.h"

namespace quire::testing {

// Says token 1 for every logit row but those that score a prompt, which fail; keeps what was
// launched on request.
class EndlessRunner final : public ModelRunner {
 public:
  explicit EndlessRunner(int depth = 0) : depth_(depth) {}

  int in_flight_depth() const override { return depth_; }
  absl::Status LaunchForward(const BatchInput& input) override {
    if (on_launch) {
      if (absl::Status status = on_launch(input); !status.ok()) return status;
    }
    launched_.push_back(input.sampling);
    return absl::OkStatus();
  }
  absl::Status LaunchSample(const BatchInput&) override { return absl::OkStatus(); }
  absl::StatusOr<std::span<const kernels::SampledToken>> Complete() override {
    tokens_.clear();
    for (const kernels::SamplingRow& row : launched_.front()) {
      tokens_.push_back({.token_id = row.target >= 0 ? kernels::kNotFinite : 1, .logprob = -1});
    }
    launched_.pop_front();
    return std::span<const kernels::SampledToken>(tokens_);
  }

  std::span<const kernels::TokenLogprob> Alternatives(int32_t) const override { return {}; }
  RunnerMemory memory() const override { return {}; }

  // Called on the engine thread before each launch; an error fails the device.
  std::function<absl::Status(const BatchInput&)> on_launch;

 private:
  const int depth_;
  std::deque<std::vector<kernels::SamplingRow>> launched_;
  std::vector<kernels::SampledToken> tokens_;
};

}  // namespace quire::testing
