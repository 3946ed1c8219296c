#include "core/model/weights.h"

#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/device_memory.h"
#include "kernels/api/float_convert.h"

namespace quire {
namespace {

using kernels::DeviceBuffer;
using kernels::HostMatrix;
using kernels::PackedWeights;
using kernels::WeightFormat;

// Part of a linear layer: its name without ".weight" or ".bias", and its outputs.
struct LinearPart {
  std::string name;
  int64_t rows = 0;
};

class WeightLoader {
 public:
  WeightLoader(const ModelConfig& config, WeightSource* source, kernels::Device* device,
               kernels::DType compute, kernels::WeightFormat format, const LoadProgress& progress)
      : config_(config),
        source_(source),
        device_(device),
        compute_(compute),
        format_(format),
        progress_(progress),
        element_bytes_(static_cast<int64_t>(kernels::DTypeBytes(compute))) {}

  absl::StatusOr<ModelWeights> Load();

 private:
  absl::StatusOr<LayerWeights> LoadLayer(int32_t layer);
  absl::StatusOr<AttentionWeights> LoadAttention(const std::string& prefix,
                                                 const LayerShape& shape);
  absl::StatusOr<FeedForwardWeights> LoadFeedForward(const std::string& prefix,
                                                     const LayerShape& shape);
  absl::StatusOr<LinearWeights> LoadLinear(const std::vector<LinearPart>& parts, int64_t cols,
                                           bool has_bias);
  absl::StatusOr<std::unique_ptr<PackedWeights>> LoadMatrix(const std::vector<LinearPart>& parts,
                                                            int64_t cols, WeightFormat format);
  absl::StatusOr<std::unique_ptr<PackedWeights>> LoadTable(const std::string& name);
  // The named vectors one after the other, `plus` added to each element, as float32 on the device.
  absl::StatusOr<DeviceBuffer> LoadVector(const std::vector<TensorSpec>& specs, float plus = 0);
  absl::StatusOr<DeviceBuffer> LoadNorm(const std::string& name, int64_t width) {
    return LoadVector({{.name = name + ".weight", .vector = true, .cols = width}},
                      config_.norm_weights_plus_one ? 1.0f : 0.0f);
  }
  void Advance(int64_t elements);

  const ModelConfig& config_;
  WeightSource* const source_;
  kernels::Device* const device_;
  const kernels::DType compute_;
  const WeightFormat format_;
  const LoadProgress& progress_;
  const int64_t element_bytes_;
  int64_t loaded_ = 0;  // elements
};

absl::StatusOr<ModelWeights> WeightLoader::Load() {
  ModelWeights weights;
  weights.compute = compute_;
  const int64_t hidden = config_.hidden_size;
  QUIRE_ASSIGN_OR_RETURN(weights.embedding, LoadTable(config_.tensors.embedding));
  weights.layers.reserve(config_.kv_groups.size());
  for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
    QUIRE_ASSIGN_OR_RETURN(LayerWeights loaded, LoadLayer(layer));
    weights.layers.push_back(std::move(loaded));
  }
  QUIRE_ASSIGN_OR_RETURN(weights.final_norm, LoadNorm(config_.tensors.final_norm, hidden));
  if (!config_.tie_word_embeddings) {
    QUIRE_ASSIGN_OR_RETURN(weights.untied_head, LoadTable(config_.tensors.lm_head));
  }
  QUIRE_CHECK(loaded_ == config_.NumParameters()) << loaded_ << " parameters loaded";
  QUIRE_RETURN_IF_ERROR(source_->CheckComplete());
  return weights;
}

absl::StatusOr<LayerWeights> WeightLoader::LoadLayer(int32_t layer) {
  const std::string prefix = absl::StrCat(config_.tensors.layers, layer, ".");
  const LayerShape shape = config_.Layer(layer);
  LayerWeights out;
  if (shape.kv_groups > 0) {
    QUIRE_ASSIGN_OR_RETURN(out.attention, LoadAttention(prefix, shape));
  }
  if (shape.intermediate_size > 0) {
    QUIRE_ASSIGN_OR_RETURN(out.feed_forward, LoadFeedForward(prefix, shape));
  }
  return out;
}

// Rows of `sizes` from as many tensors, or from one that holds them all.
std::vector<LinearPart> Parts(const std::string& prefix, const std::vector<std::string>& names,
                              const std::vector<int64_t>& sizes) {
  if (names.size() == 1) {
    return {{prefix + names[0], std::accumulate(sizes.begin(), sizes.end(), int64_t{0})}};
  }
  QUIRE_CHECK(names.size() == sizes.size());
  std::vector<LinearPart> parts;
  for (size_t i = 0; i < names.size(); ++i) parts.push_back({prefix + names[i], sizes[i]});
  return parts;
}

absl::StatusOr<AttentionWeights> WeightLoader::LoadAttention(const std::string& prefix,
                                                             const LayerShape& shape) {
  const TensorNames& names = config_.tensors;
  const int64_t hidden = config_.hidden_size;
  const int64_t q_rows = int64_t{shape.num_heads} * config_.head_dim;
  const int64_t kv_rows = int64_t{shape.kv_groups} * config_.head_dim;
  AttentionWeights out;
  QUIRE_ASSIGN_OR_RETURN(out.norm, LoadNorm(prefix + names.attention_norm, hidden));
  QUIRE_ASSIGN_OR_RETURN(out.qkv, LoadLinear(Parts(prefix, names.qkv, {q_rows, kv_rows, kv_rows}),
                                             hidden, config_.qkv_bias));
  if (config_.qk_norm) {
    QUIRE_ASSIGN_OR_RETURN(out.q_norm, LoadNorm(prefix + names.q_norm, config_.head_dim));
    QUIRE_ASSIGN_OR_RETURN(out.k_norm, LoadNorm(prefix + names.k_norm, config_.head_dim));
  }
  QUIRE_ASSIGN_OR_RETURN(out.o, LoadLinear({{prefix + names.o, hidden}}, q_rows, config_.o_bias));
  if (config_.post_norms) {
    QUIRE_ASSIGN_OR_RETURN(out.post_norm, LoadNorm(prefix + names.attention_post_norm, hidden));
  }
  return out;
}

absl::StatusOr<FeedForwardWeights> WeightLoader::LoadFeedForward(const std::string& prefix,
                                                                 const LayerShape& shape) {
  const TensorNames& names = config_.tensors;
  const int64_t hidden = config_.hidden_size;
  const int64_t inter = shape.intermediate_size;
  FeedForwardWeights out;
  QUIRE_ASSIGN_OR_RETURN(out.norm, LoadNorm(prefix + names.mlp_norm, hidden));
  QUIRE_ASSIGN_OR_RETURN(out.gate_up, LoadLinear(Parts(prefix, names.gate_up, {inter, inter}),
                                                 hidden, config_.mlp_bias));
  QUIRE_ASSIGN_OR_RETURN(out.down,
                         LoadLinear({{prefix + names.down, hidden}}, inter, config_.mlp_bias));
  if (config_.post_norms) {
    QUIRE_ASSIGN_OR_RETURN(out.post_norm, LoadNorm(prefix + names.mlp_post_norm, hidden));
  }
  return out;
}

absl::StatusOr<LinearWeights> WeightLoader::LoadLinear(const std::vector<LinearPart>& parts,
                                                       int64_t cols, bool has_bias) {
  LinearWeights linear;
  QUIRE_ASSIGN_OR_RETURN(linear.matrix, LoadMatrix(parts, cols, format_));
  if (!has_bias) return linear;
  std::vector<TensorSpec> biases;
  biases.reserve(parts.size());
  for (const LinearPart& part : parts) {
    biases.push_back({.name = part.name + ".bias", .vector = true, .cols = part.rows});
  }
  QUIRE_ASSIGN_OR_RETURN(linear.bias, LoadVector(biases));
  return linear;
}

absl::StatusOr<std::unique_ptr<PackedWeights>> WeightLoader::LoadTable(const std::string& name) {
  return LoadMatrix({{name, config_.vocab_size}}, config_.hidden_size,
                    format_ == WeightFormat::kInt4 ? WeightFormat::kInt8 : format_);
}

absl::StatusOr<std::unique_ptr<PackedWeights>> WeightLoader::LoadMatrix(
    const std::vector<LinearPart>& parts, int64_t cols, WeightFormat format) {
  std::vector<TensorSpec> specs;
  int64_t rows = 0;
  for (const LinearPart& part : parts) {
    specs.push_back({.name = part.name + ".weight", .rows = part.rows, .cols = cols});
    rows += part.rows;
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<HostMatrix> matrices, source_->Fetch(specs));
  std::unique_ptr<PackedWeights> packed;
  QUIRE_RETURN_IF_ERROR(
      FromDevice(device_->PackLinear(matrices.data(), static_cast<int>(matrices.size()), compute_,
                                     format, &packed),
                 absl::StrCat("packing ", specs.front().name)));
  Advance(rows * cols);
  return packed;
}

absl::StatusOr<DeviceBuffer> WeightLoader::LoadVector(const std::vector<TensorSpec>& specs,
                                                      float plus) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<HostMatrix> vectors, source_->Fetch(specs));
  std::vector<float> values;
  for (const HostMatrix& vector : vectors) {
    const size_t start = values.size();
    values.resize(start + static_cast<size_t>(vector.cols));
    kernels::ConvertToFloat(vector.data, vector.dtype, values.size() - start,
                            values.data() + start);
  }
  if (plus != 0) {
    for (float& value : values) value += plus;
  }
  QUIRE_ASSIGN_OR_RETURN(DeviceBuffer buffer, UploadFloats(device_, values, specs.front().name));
  Advance(static_cast<int64_t>(values.size()));
  return buffer;
}

void WeightLoader::Advance(int64_t elements) {
  loaded_ += elements;
  if (progress_) progress_(loaded_ * element_bytes_, config_.NumParameters() * element_bytes_);
}

}  // namespace

size_t AttentionWeights::DeviceBytes() const {
  return norm.bytes() + qkv.DeviceBytes() + q_norm.bytes() + k_norm.bytes() + o.DeviceBytes() +
         post_norm.bytes();
}

size_t FeedForwardWeights::DeviceBytes() const {
  return norm.bytes() + gate_up.DeviceBytes() + down.DeviceBytes() + post_norm.bytes();
}

int64_t ModelWeights::DeviceBytes() const {
  size_t bytes = embedding->bytes() + final_norm.bytes();
  if (untied_head) bytes += untied_head->bytes();
  for (const LayerWeights& layer : layers) {
    bytes += layer.attention.DeviceBytes() + layer.feed_forward.DeviceBytes();
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<ModelWeights> LoadWeights(const ModelConfig& config, WeightSource* source,
                                         kernels::Device* device, kernels::DType compute,
                                         const LoadProgress& progress,
                                         kernels::WeightFormat format) {
  return WeightLoader(config, source, device, compute, format, progress).Load();
}

}  // namespace quire
