#include "core/model/architectures.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/config_reader.h"
#include "core/model/json_fields.h"
#include "core/model/rope_reader.h"

namespace quire {
namespace {

using nlohmann::json;

// Where a file says nothing, as in transformers; Phi-3 and SmolLM3 then have no window.
constexpr int32_t kDefaultWindow = 4096;

bool EveryLayer(int32_t) { return true; }

absl::Status ReadLlama(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, {}, config));
  QUIRE_RETURN_IF_ERROR(ReadBlockBiases(fields, config));
  return ReadRope(fields, {}, config);
}

absl::Status ReadMistral(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, {}, config));
  QUIRE_RETURN_IF_ERROR(
      ReadWindows(fields, {.default_window = kDefaultWindow, .windowed = EveryLayer}, config));
  return ReadRope(fields, {}, config);
}

// Layers from max_window_layers on have the window, but only if use_sliding_window says so.
absl::Status ReadQwenWindows(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t full_layers,
                         fields.IntOr("max_window_layers", 28, 0, kMaxLayers));
  const auto windowed = [full_layers](int32_t layer) { return layer >= full_layers; };
  return ReadWindows(fields,
                     {.default_window = kDefaultWindow,
                      .off_by_default = true,
                      .layer_types = true,
                      .windowed = windowed},
                     config);
}

absl::Status ReadQwen2(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, {}, config));
  config->qkv_bias = true;
  QUIRE_RETURN_IF_ERROR(ReadQwenWindows(fields, config));
  return ReadRope(fields, {}, config);
}

absl::Status ReadQwen3(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, {.head_dim = 128}, config));
  QUIRE_ASSIGN_OR_RETURN(config->qkv_bias, fields.BoolOr("attention_bias", false));
  config->o_bias = config->qkv_bias;
  config->qk_norm = true;
  QUIRE_RETURN_IF_ERROR(ReadQwenWindows(fields, config));
  return ReadRope(fields, {}, config);
}

absl::Status ReadSoftcap(const JsonFields& fields, const char* field, double fallback, float* cap) {
  // Transformers has a default for an absent field; null turns the cap off.
  QUIRE_ASSIGN_OR_RETURN(*cap, fields.NumberOr(field, fields.IsNull(field) ? 0 : fallback, 0, 1e6));
  return absl::OkStatus();
}

// What Gemma 2 and 3 share. The gate is named by hidden_activation; an older hidden_act beside it
// does not count.
absl::Status ReadGemma(const JsonFields& fields, ModelConfig* config) {
  constexpr DecoderDefaults kDefaults = {.head_dim = 256,
                                         .tied = true,
                                         .activation_field = "hidden_activation",
                                         .activation = "gelu_pytorch_tanh"};
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, kDefaults, config));
  QUIRE_ASSIGN_OR_RETURN(config->qkv_bias, fields.BoolOr("attention_bias", false));
  config->o_bias = config->qkv_bias;
  config->norm_weights_plus_one = true;
  config->post_norms = true;
  config->tensors.mlp_norm = "pre_feedforward_layernorm";
  config->scale_embeddings = true;
  QUIRE_ASSIGN_OR_RETURN(const double scalar,
                         fields.NumberOr("query_pre_attn_scalar", 256, 1e-3, 1e6));
  config->attention_scale = static_cast<float>(1 / std::sqrt(scalar));
  return absl::OkStatus();
}

absl::Status ReadGemma2(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadGemma(fields, config));
  QUIRE_RETURN_IF_ERROR(
      ReadSoftcap(fields, "attn_logit_softcapping", 50, &config->attention_softcap));
  QUIRE_RETURN_IF_ERROR(ReadSoftcap(fields, "final_logit_softcapping", 30, &config->logit_softcap));
  const auto even = [](int32_t layer) { return layer % 2 == 0; };
  QUIRE_RETURN_IF_ERROR(ReadWindows(
      fields, {.default_window = kDefaultWindow, .layer_types = true, .windowed = even}, config));
  return ReadRope(fields, {}, config);
}

absl::Status ReadGemma3(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadGemma(fields, config));
  config->qk_norm = true;
  if (fields.Has("attn_logit_softcapping")) {
    return fields.Error("attn_logit_softcapping", "null: Gemma 3 caps no scores");
  }
  QUIRE_RETURN_IF_ERROR(ReadSoftcap(fields, "final_logit_softcapping", 0, &config->logit_softcap));
  QUIRE_ASSIGN_OR_RETURN(const int64_t pattern,
                         fields.IntOr("sliding_window_pattern", 6, 1, kMaxLayers));
  const auto local = [pattern](int32_t layer) { return (layer + 1) % pattern != 0; };
  QUIRE_RETURN_IF_ERROR(ReadWindows(
      fields, {.default_window = kDefaultWindow, .layer_types = true, .windowed = local}, config));
  return ReadTwoRopes(fields, config);
}

absl::Status ReadPhi3(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, {}, config));
  config->tensors.qkv = {"self_attn.qkv_proj"};
  config->tensors.gate_up = {"mlp.gate_up_proj"};
  QUIRE_RETURN_IF_ERROR(ReadWindows(fields, {.windowed = EveryLayer}, config));
  return ReadRope(fields, {.original_max_positions = 4096, .partial = true, .longrope_alone = true},
                  config);
}

// Some layers do not rotate at all: a 0 in no_rope_layers, else each of every so many.
absl::Status ReadNoRopeLayers(const JsonFields& fields, ModelConfig* config) {
  if (!fields.Has("no_rope_layers")) {
    QUIRE_ASSIGN_OR_RETURN(const int64_t interval,
                           fields.IntOr("no_rope_layer_interval", 4, 1, kMaxLayers));
    for (int32_t layer = 0; layer < config->num_layers; ++layer) {
      config->layer_rotates.push_back((layer + 1) % interval != 0);
    }
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(const json* list, LayerList(fields, "no_rope_layers", config->num_layers));
  for (const json& value : *list) {
    if (value != 0 && value != 1) return fields.Error("no_rope_layers", "a list of 0 and 1");
    config->layer_rotates.push_back(value == 1);
  }
  return absl::OkStatus();
}

absl::Status ReadSmolLm3(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadDecoder(fields, {.tied = true}, config));
  QUIRE_RETURN_IF_ERROR(ReadBlockBiases(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadNoRopeLayers(fields, config));
  const auto windowed = [config](int32_t layer) { return !config->Layer(layer).rotates; };
  QUIRE_RETURN_IF_ERROR(ReadWindows(
      fields, {.off_by_default = true, .layer_types = true, .windowed = windowed}, config));
  return ReadRope(fields, {.theta = 2e6}, config);
}

constexpr Architecture kArchitectures[] = {
    {"DeciLMForCausalLM", ReadDeciLm},   {"Gemma2ForCausalLM", ReadGemma2},
    {"Gemma3ForCausalLM", ReadGemma3},   {"LlamaForCausalLM", ReadLlama},
    {"MistralForCausalLM", ReadMistral}, {"OpenELMForCausalLM", ReadOpenElm},
    {"Phi3ForCausalLM", ReadPhi3},       {"Qwen2ForCausalLM", ReadQwen2},
    {"Qwen3ForCausalLM", ReadQwen3},     {"SmolLM3ForCausalLM", ReadSmolLm3},
};

}  // namespace

std::span<const Architecture> Architectures() { return kArchitectures; }

}  // namespace quire
