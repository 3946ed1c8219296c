#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/model/model_config.h"
#include "core/model/weights.h"
#include "kernels/api/device.h"

namespace quire::cli {

// A model on the CPU device, run over one short text without an engine. One thread.
class CheckModel {
 public:
  // Reads every weight: InvalidArgument names a tensor that is missing, unexpected or of another
  // shape than the configuration asks for.
  static absl::StatusOr<std::unique_ptr<CheckModel>> Load(const std::string& model_dir,
                                                          const ModelConfig& config, int threads,
                                                          const LoadProgress& progress);
  ~CheckModel();

  int64_t weight_bytes() const { return weight_bytes_; }
  // Memory that the device has left, with the weights loaded.
  int64_t available_bytes() const;
  kernels::DType compute() const { return compute_; }

  // exp of the mean of -log p over all tokens but the first. Internal where a logit is not finite,
  // with the position. `ids` has at least two and at most the model's longest context. Once.
  absl::StatusOr<double> Perplexity(const std::vector<TokenId>& ids);

 private:
  CheckModel(const ModelConfig& config, kernels::DType compute)
      : config_(config), compute_(compute) {}

  const ModelConfig config_;
  const kernels::DType compute_;
  std::unique_ptr<kernels::Device> device_;
  ModelWeights weights_;
  int64_t weight_bytes_ = 0;
};

}  // namespace quire::cli
