#include "core/model/weights.h"

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/device_memory.h"
#include "core/model/float_convert.h"

namespace quire {
namespace {

using kernels::DeviceBuffer;
using kernels::HostMatrix;
using kernels::PackedWeights;

// Part of a linear layer: its name without ".weight" or ".bias", and its outputs.
struct LinearPart {
  std::string name;
  int64_t rows = 0;
};

class WeightLoader {
 public:
  WeightLoader(const ModelConfig& config, WeightSource* source, kernels::Device* device,
               kernels::DType compute, const LoadProgress& progress)
      : config_(config),
        source_(source),
        device_(device),
        compute_(compute),
        progress_(progress),
        element_bytes_(static_cast<int64_t>(kernels::DTypeBytes(compute))) {}

  absl::StatusOr<ModelWeights> Load();

 private:
  absl::StatusOr<LayerWeights> LoadLayer(int32_t layer);
  absl::StatusOr<LinearWeights> LoadLinear(const std::vector<LinearPart>& parts, int64_t cols,
                                           bool has_bias);
  absl::StatusOr<std::unique_ptr<PackedWeights>> LoadMatrix(const std::vector<LinearPart>& parts,
                                                            int64_t cols);
  // The named vectors one after the other, as float32 on the device.
  absl::StatusOr<DeviceBuffer> LoadVector(const std::vector<TensorSpec>& specs);
  absl::StatusOr<DeviceBuffer> LoadNorm(const std::string& name) {
    return LoadVector({{.name = name, .vector = true, .cols = config_.hidden_size}});
  }
  void Advance(int64_t elements);

  const ModelConfig& config_;
  WeightSource* const source_;
  kernels::Device* const device_;
  const kernels::DType compute_;
  const LoadProgress& progress_;
  const int64_t element_bytes_;
  int64_t loaded_ = 0;  // elements
};

absl::StatusOr<ModelWeights> WeightLoader::Load() {
  ModelWeights weights;
  weights.compute = compute_;
  const int64_t hidden = config_.hidden_size;
  QUIRE_ASSIGN_OR_RETURN(weights.embedding,
                         LoadMatrix({{"model.embed_tokens", config_.vocab_size}}, hidden));
  weights.layers.reserve(config_.kv_groups.size());
  for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
    QUIRE_ASSIGN_OR_RETURN(LayerWeights loaded, LoadLayer(layer));
    weights.layers.push_back(std::move(loaded));
  }
  QUIRE_ASSIGN_OR_RETURN(weights.final_norm, LoadNorm("model.norm.weight"));
  if (!config_.tie_word_embeddings) {
    QUIRE_ASSIGN_OR_RETURN(weights.untied_head,
                           LoadMatrix({{"lm_head", config_.vocab_size}}, hidden));
  }
  QUIRE_CHECK(loaded_ == config_.NumParameters()) << loaded_ << " parameters loaded";
  QUIRE_RETURN_IF_ERROR(source_->CheckComplete());
  return weights;
}

absl::StatusOr<LayerWeights> WeightLoader::LoadLayer(int32_t layer) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const int64_t hidden = config_.hidden_size;
  const int64_t inter = config_.intermediate_size;
  const int64_t q_rows = int64_t{config_.num_heads} * config_.head_dim;
  const int64_t kv_rows = int64_t{config_.kv_groups[static_cast<size_t>(layer)]} * config_.head_dim;
  const auto attention = [&](const char* name) { return absl::StrCat(prefix, "self_attn.", name); };
  const auto mlp = [&](const char* name) { return absl::StrCat(prefix, "mlp.", name); };

  LayerWeights out;
  QUIRE_ASSIGN_OR_RETURN(out.attention_norm, LoadNorm(prefix + "input_layernorm.weight"));
  QUIRE_ASSIGN_OR_RETURN(out.qkv, LoadLinear({{attention("q_proj"), q_rows},
                                              {attention("k_proj"), kv_rows},
                                              {attention("v_proj"), kv_rows}},
                                             hidden, config_.attention_bias));
  QUIRE_ASSIGN_OR_RETURN(
      out.o, LoadLinear({{attention("o_proj"), hidden}}, q_rows, config_.attention_bias));
  QUIRE_ASSIGN_OR_RETURN(out.mlp_norm, LoadNorm(prefix + "post_attention_layernorm.weight"));
  QUIRE_ASSIGN_OR_RETURN(
      out.gate_up,
      LoadLinear({{mlp("gate_proj"), inter}, {mlp("up_proj"), inter}}, hidden, config_.mlp_bias));
  QUIRE_ASSIGN_OR_RETURN(out.down,
                         LoadLinear({{mlp("down_proj"), hidden}}, inter, config_.mlp_bias));
  return out;
}

absl::StatusOr<LinearWeights> WeightLoader::LoadLinear(const std::vector<LinearPart>& parts,
                                                       int64_t cols, bool has_bias) {
  LinearWeights linear;
  QUIRE_ASSIGN_OR_RETURN(linear.matrix, LoadMatrix(parts, cols));
  if (!has_bias) return linear;
  std::vector<TensorSpec> biases;
  biases.reserve(parts.size());
  for (const LinearPart& part : parts) {
    biases.push_back({.name = part.name + ".bias", .vector = true, .cols = part.rows});
  }
  QUIRE_ASSIGN_OR_RETURN(linear.bias, LoadVector(biases));
  return linear;
}

absl::StatusOr<std::unique_ptr<PackedWeights>> WeightLoader::LoadMatrix(
    const std::vector<LinearPart>& parts, int64_t cols) {
  std::vector<TensorSpec> specs;
  int64_t rows = 0;
  for (const LinearPart& part : parts) {
    specs.push_back({.name = part.name + ".weight", .rows = part.rows, .cols = cols});
    rows += part.rows;
  }
  QUIRE_ASSIGN_OR_RETURN(const std::vector<HostMatrix> matrices, source_->Fetch(specs));
  std::unique_ptr<PackedWeights> packed;
  QUIRE_RETURN_IF_ERROR(FromDevice(
      device_->PackLinear(matrices.data(), static_cast<int>(matrices.size()), compute_, &packed),
      absl::StrCat("packing ", specs.front().name)));
  Advance(rows * cols);
  return packed;
}

absl::StatusOr<DeviceBuffer> WeightLoader::LoadVector(const std::vector<TensorSpec>& specs) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<HostMatrix> vectors, source_->Fetch(specs));
  std::vector<float> values;
  for (const HostMatrix& vector : vectors) {
    const size_t start = values.size();
    values.resize(start + static_cast<size_t>(vector.cols));
    ConvertToFloat(vector.data, vector.dtype, values.size() - start, values.data() + start);
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

int64_t ModelWeights::DeviceBytes() const {
  size_t bytes = embedding->bytes() + final_norm.bytes();
  if (untied_head) bytes += untied_head->bytes();
  for (const LayerWeights& layer : layers) {
    bytes += layer.attention_norm.bytes() + layer.mlp_norm.bytes();
    for (const LinearWeights* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      bytes += linear->matrix->bytes() + linear->bias.bytes();
    }
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<ModelWeights> LoadWeights(const ModelConfig& config, WeightSource* source,
                                         kernels::Device* device, kernels::DType compute,
                                         const LoadProgress& progress) {
  return WeightLoader(config, source, device, compute, progress).Load();
}

}  // namespace quire
