#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/model/model_config.h"

namespace quire {
namespace {

ModelConfig Llama32_1B() {
  ModelConfig c;
  c.name = "llama-3.2-1b";
  c.architecture = "LlamaForCausalLM";
  c.vocab_size = 128256;
  c.hidden_size = 2048;
  c.intermediate_size = 8192;
  c.num_layers = 16;
  c.num_heads = 32;
  c.kv_groups.assign(16, 8);
  c.head_dim = 64;
  c.max_positions = 131072;
  c.tie_word_embeddings = true;
  c.rope = {
      .kind = RopeKind::kLlama3, .theta = 500000.0, .factor = 32.0, .original_max_positions = 8192};
  c.eos_token_ids = {128001, 128008, 128009};
  return c;
}

ModelConfig Llama31_8B() {
  ModelConfig c = Llama32_1B();
  c.name = "llama-3.1-8b";
  c.hidden_size = 4096;
  c.intermediate_size = 14336;
  c.num_layers = 32;
  c.kv_groups.assign(32, 8);
  c.head_dim = 128;
  c.tie_word_embeddings = false;
  c.rope.factor = 8.0;
  return c;
}

ModelConfig Qwen25_05B() {
  ModelConfig c;
  c.name = "qwen2.5-0.5b";
  c.architecture = "Qwen2ForCausalLM";
  c.vocab_size = 151936;
  c.hidden_size = 896;
  c.intermediate_size = 4864;
  c.num_layers = 24;
  c.num_heads = 14;
  c.kv_groups.assign(24, 2);
  c.head_dim = 64;
  c.max_positions = 32768;
  c.rms_norm_eps = 1e-6f;
  c.tie_word_embeddings = true;
  c.qkv_bias = true;
  c.rope = {.theta = 1000000.0};
  c.eos_token_ids = {151643, 151645};
  return c;
}

ModelConfig Qwen3_06B() {
  ModelConfig c;
  c.name = "qwen3-0.6b";
  c.architecture = "Qwen3ForCausalLM";
  c.vocab_size = 151936;
  c.hidden_size = 1024;
  c.intermediate_size = 3072;
  c.num_layers = 28;
  c.num_heads = 16;
  c.kv_groups.assign(28, 8);
  c.head_dim = 128;
  c.max_positions = 40960;
  c.rms_norm_eps = 1e-6f;
  c.tie_word_embeddings = true;
  c.qk_norm = true;
  c.rope = {.theta = 1000000.0};
  c.eos_token_ids = {151645};
  return c;
}

ModelConfig Mistral7B() {
  ModelConfig c;
  c.name = "mistral-7b";
  c.architecture = "MistralForCausalLM";
  c.vocab_size = 32000;
  c.hidden_size = 4096;
  c.intermediate_size = 14336;
  c.num_layers = 32;
  c.num_heads = 32;
  c.kv_groups.assign(32, 8);
  c.head_dim = 128;
  c.max_positions = 32768;
  c.windows.assign(32, 4096);
  c.eos_token_ids = {2};
  return c;
}

ModelConfig Gemma2_2B() {
  ModelConfig c;
  c.name = "gemma-2-2b";
  c.architecture = "Gemma2ForCausalLM";
  c.vocab_size = 256000;
  c.hidden_size = 2304;
  c.intermediate_size = 9216;
  c.num_layers = 26;
  c.num_heads = 8;
  c.kv_groups.assign(26, 4);
  c.head_dim = 256;
  c.max_positions = 8192;
  for (int32_t layer = 0; layer < c.num_layers; ++layer) {
    c.windows.push_back(layer % 2 == 0 ? 4096 : 0);
  }
  c.rms_norm_eps = 1e-6f;
  c.norm_weights_plus_one = true;
  c.post_norms = true;
  c.tie_word_embeddings = true;
  c.scale_embeddings = true;
  c.gate = kernels::GateKind::kGeluTanh;
  c.attention_scale = 1.0f / 16;
  c.attention_softcap = 50;
  c.logit_softcap = 30;
  c.tensors.mlp_norm = "pre_feedforward_layernorm";
  c.eos_token_ids = {1};
  return c;
}

std::vector<ModelConfig> AllShapes() {
  return {Llama32_1B(), Llama31_8B(), Qwen25_05B(), Qwen3_06B(), Mistral7B(), Gemma2_2B()};
}

}  // namespace

absl::StatusOr<ModelConfig> NamedModelShape(const std::string& name) {
  for (ModelConfig& shape : AllShapes()) {
    if (shape.name == name) return std::move(shape);
  }
  return absl::NotFoundError(absl::StrCat("no model shape is called '", name, "'; there are ",
                                          absl::StrJoin(NamedModelShapes(), ", ")));
}

std::vector<std::string> NamedModelShapes() {
  std::vector<std::string> names;
  for (const ModelConfig& shape : AllShapes()) names.push_back(shape.name);
  return names;
}

}  // namespace quire
