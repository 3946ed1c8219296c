#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "kernels/api/types.h"

namespace quire {

// Rotary embedding with the frequency scaling of Llama 3.1; factor 1 means none.
struct RopeConfig {
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int32_t original_max_positions = 0;
};

// A decoder's shape and constants, validated: every size is positive and within sane bounds and
// kv_groups divides num_heads. Plain data.
struct ModelConfig {
  std::string name;          // for people and the API: the directory's name unless told otherwise
  std::string architecture;  // e.g. "LlamaForCausalLM"
  int32_t vocab_size = 0;
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  std::vector<int32_t> kv_groups;  // per layer: the dial from MHA (= num_heads) to MQA (= 1)
  std::vector<int32_t> windows;    // XXX per layer
  int32_t head_dim = 0;
  int32_t max_positions = 0;
  float rms_norm_eps = 1e-5f;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  RopeConfig rope;
  kernels::DType checkpoint_dtype = kernels::DType::kBF16;
  std::vector<TokenId> eos_token_ids;

  // Defaults that generation_config.json gives to requests that leave a field unset.
  float default_temperature = 1.0f;
  float default_top_p = 1.0f;
  int32_t default_top_k = 0;
  float default_repetition_penalty = 1.0f;

  int64_t NumParameters() const;
};

// Reads config.json and generation_config.json of a Hugging Face directory. InvalidArgument names
// the field and what it must be; an unsupported architecture is refused with the supported ones.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model_dir);

// Shapes of well-known models, for planning and for benchmarks on random weights:
// "llama-3.2-1b", "llama-3.1-8b", "qwen2.5-0.5b". NotFound lists the names.
absl::StatusOr<ModelConfig> NamedModelShape(const std::string& name);
std::vector<std::string> NamedModelShapes();

}  // namespace quire
