#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/model_config.h"
#include "core/model/weight_source.h"
#include "kernels/api/device.h"

namespace quire {

// y = x W^T + b
struct LinearWeights {
  std::unique_ptr<kernels::PackedWeights> matrix;
  kernels::DeviceBuffer bias;  // f32 [rows]; empty without one

  const float* bias_data() const { return bias.as<const float>(); }
  size_t DeviceBytes() const { return (matrix ? matrix->bytes() : 0) + bias.bytes(); }
};

// Norm weights are what a norm multiplies by, also where the checkpoint stores them less one. A
// buffer is empty, and a matrix null, where the model or the layer has none.
struct AttentionWeights {
  kernels::DeviceBuffer norm;       // f32 [hidden]
  LinearWeights qkv;                // [(H + 2G) * D, hidden]: Q, K, V stacked
  kernels::DeviceBuffer q_norm;     // f32 [D]
  kernels::DeviceBuffer k_norm;     // f32 [D]
  LinearWeights o;                  // [hidden, H * D]
  kernels::DeviceBuffer post_norm;  // f32 [hidden]

  size_t DeviceBytes() const;
};
struct FeedForwardWeights {
  kernels::DeviceBuffer norm;       // f32 [hidden]
  LinearWeights gate_up;            // [2 * intermediate, hidden]: gate, up stacked
  LinearWeights down;               // [hidden, intermediate]
  kernels::DeviceBuffer post_norm;  // f32 [hidden]

  size_t DeviceBytes() const;
};
struct LayerWeights {
  AttentionWeights attention;
  FeedForwardWeights feed_forward;
};

// A model's weights on a device, which must outlive them. Move-only.
struct ModelWeights {
  kernels::DType compute = kernels::DType::kBF16;
  std::unique_ptr<kernels::PackedWeights> embedding;    // [vocab, hidden]
  std::unique_ptr<kernels::PackedWeights> untied_head;  // [vocab, hidden]; null when tied
  std::vector<LayerWeights> layers;
  kernels::DeviceBuffer final_norm;  // f32 [hidden]

  const kernels::PackedWeights& lm_head() const { return untied_head ? *untied_head : *embedding; }
  int64_t DeviceBytes() const;
};

// Bytes of parameters in the compute type: done so far, and in all.
using LoadProgress = std::function<void(int64_t done, int64_t total)>;

// Loads and packs every weight of `config`, a few tensors at a time. `compute` is kF32 or kBF16.
// InvalidArgument: the source does not fit the configuration. ResourceExhausted: the device is out
// of memory. `progress` may be empty. With kInt4 the token table and the head are kInt8: they
// suffer most, and matter little where the vocabulary is small beside the model.
absl::StatusOr<ModelWeights> LoadWeights(
    const ModelConfig& config, WeightSource* source, kernels::Device* device,
    kernels::DType compute, const LoadProgress& progress,
    kernels::WeightFormat format = kernels::WeightFormat::kDense);

}  // namespace quire
