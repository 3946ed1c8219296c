#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/model/rope_config.h"
#include "core/model/tensor_names.h"
#include "kernels/api/types.h"

namespace quire {

// What may differ from layer to layer.
struct LayerShape {
  int32_t num_heads = 0;
  int32_t kv_groups = 0;          // 0: the layer has no attention
  int32_t intermediate_size = 0;  // 0: the layer has no feed-forward block
  int32_t window = 0;             // tokens that attention sees, the token's own included; 0: all
  bool rotates = true;            // positions reach queries and keys (by RopeFor)
};

// A decoder's shape and constants, validated: every size is positive unless said otherwise and
// within sane bounds, and each layer's kv_groups divides its heads. Plain data: what a model does
// follows from these fields, never from its architecture's name.
struct ModelConfig {
  std::string name;          // for people and the API: the directory's name unless told otherwise
  std::string architecture;  // e.g. "LlamaForCausalLM"
  int32_t vocab_size = 0;
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;  // the largest of any layer
  int32_t num_layers = 0;
  int32_t num_heads = 0;           // the largest of any layer
  std::vector<int32_t> kv_groups;  // per layer: the dial from MHA (= num_heads) to MQA (= 1); or 0
  int32_t head_dim = 0;
  int32_t max_positions = 0;

  // Per layer; empty where every layer has the value named.
  std::vector<int32_t> layer_heads;               // num_heads
  std::vector<int32_t> layer_intermediate_sizes;  // intermediate_size
  std::vector<int32_t> windows;                   // 0
  std::vector<uint8_t> layer_rotates;             // 1

  float rms_norm_eps = 1e-5f;
  bool norm_weights_plus_one = false;  // norms multiply by 1 + weight
  bool post_norms = false;  // a block's output is normalised before it joins the residual
  bool qk_norm = false;     // heads of Q and K are normalised before they rotate
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  bool scale_embeddings = false;  // by sqrt(hidden_size), rounded to the type computed in
  kernels::GateKind gate = kernels::GateKind::kSilu;
  float attention_scale = 0;    // of the scores; 0: 1 / sqrt(head_dim)
  float attention_softcap = 0;  // 0: none
  float logit_softcap = 0;      // 0: none
  RopeConfig rope;
  std::optional<RopeConfig> window_rope;  // for the layers with a window, where it differs

  TensorNames tensors;
  kernels::DType checkpoint_dtype = kernels::DType::kBF16;
  std::vector<TokenId> eos_token_ids;

  // Defaults that generation_config.json gives to requests that leave a field unset.
  float default_temperature = 1.0f;
  float default_top_p = 1.0f;
  int32_t default_top_k = 0;
  float default_repetition_penalty = 1.0f;

  LayerShape Layer(int32_t layer) const;
  // What to compute and keep KV in unless told otherwise: f32 for an f32 checkpoint, else bf16.
  kernels::DType DefaultComputeType() const {
    return checkpoint_dtype == kernels::DType::kF32 ? kernels::DType::kF32 : kernels::DType::kBF16;
  }
  const RopeConfig& RopeFor(const LayerShape& shape) const {
    return shape.window > 0 && window_rope.has_value() ? *window_rope : rope;
  }
  int64_t NumParameters() const;
};

// Reads config.json and generation_config.json of a Hugging Face directory, or the metadata of a
// GGUF file (FindGgufFile). InvalidArgument names the field and what it must be; an unsupported
// architecture is refused with the supported ones.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model_dir);

// How query heads share KV groups, over the layers that have attention.
struct AttentionShape {
  enum class Kind { kMha, kGqa, kMqa };  // where layers differ in kind: GQA
  Kind kind = Kind::kGqa;
  int32_t min_groups = 0, max_groups = 0;
  int32_t min_q_per_group = 0, max_q_per_group = 0;
};
AttentionShape ShapeOfAttention(const ModelConfig& config);

// The text of a config.json alone; errors start with `where`. Pure.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text, const std::string& where);

// The names that config.json may have under "architectures".
std::vector<std::string> SupportedArchitectures();

// Shapes of well-known models, for planning and for benchmarks on random weights, such as
// "llama-3.2-1b". NotFound lists the names.
absl::StatusOr<ModelConfig> NamedModelShape(const std::string& name);
std::vector<std::string> NamedModelShapes();

}  // namespace quire
