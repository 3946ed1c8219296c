#include "core/model/config_reader.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/json_fields.h"
#include "core/model/quant_config.h"
#include "kernels/api/ops.h"

namespace quire {
namespace {

using kernels::kHeadDimUnit;
using kernels::kMaxHeadDim;
using nlohmann::json;

// A field, and the number that asks for nothing; false counts as 0 and true as 1.
struct NeutralField {
  const char* name;
  double neutral;
};
constexpr NeutralField kUnsupportedFields[] = {
    {"attention_chunk_size", 0},  // Llama 4
    {"num_experts", 0},           // mixtures of experts
    {"num_local_experts", 0},
    {"n_routed_experts", 0},
    {"use_bidirectional_attention", 0},  // EmbeddingGemma
    {"use_qk_norm", 0},                  // norms in other places than the supported ones
    {"qk_layernorm", 0},
    {"clip_qkv", 0},  // OLMo, DBRX
    {"alibi", 0},
    {"embedding_multiplier", 1},  // Granite
    {"residual_multiplier", 1},
    {"attention_multiplier", 1},
    {"logits_scaling", 1},
};

bool IsNeutral(const json& value, double neutral) {
  if (value.is_boolean()) return (value.get<bool>() ? 1 : 0) == neutral;
  return value.is_number() && value.get<double>() == neutral;
}

}  // namespace

absl::Status RefuseUnsupported(const JsonFields& fields) {
  QUIRE_RETURN_IF_ERROR(ReadQuantConfig(fields).status());
  for (const NeutralField& field : kUnsupportedFields) {
    const json* value = fields.Find(field.name);
    if (value == nullptr || IsNeutral(*value, field.neutral)) continue;
    return fields.Error(field.name, "absent: what it asks for is not supported");
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size", 1, kMaxVocab));
  QUIRE_ASSIGN_OR_RETURN(config->hidden_size, fields.Int("hidden_size", 1, kMaxHidden));
  QUIRE_ASSIGN_OR_RETURN(config->num_layers, fields.Int("num_hidden_layers", 1, kMaxLayers));
  QUIRE_ASSIGN_OR_RETURN(config->max_positions,
                         fields.Int("max_position_embeddings", 1, kMaxPositions));
  return absl::OkStatus();
}

absl::Status ReadIntermediateSize(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->intermediate_size,
                         fields.Int("intermediate_size", 1, kMaxIntermediate));
  return absl::OkStatus();
}

absl::Status CheckHeadDim(const JsonFields& fields, const char* field, int64_t head_dim) {
  if (head_dim >= kHeadDimUnit && head_dim <= kMaxHeadDim && head_dim % kHeadDimUnit == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(fields.where(), ": the head dimension must be a multiple of ", kHeadDimUnit,
                   " in [", kHeadDimUnit, ", ", kMaxHeadDim, "], found ", head_dim,
                   fields.Has(field) ? "" : " (hidden_size / num_attention_heads)"));
}

namespace {

absl::Status ReadGroups(const JsonFields& fields, ModelConfig* config) {
  constexpr char kField[] = "num_key_value_heads";
  const json* value = fields.Find(kField);
  if (value != nullptr && value->is_array()) return ReadGroupList(fields, kField, config);
  const int64_t heads = config->num_heads;
  QUIRE_ASSIGN_OR_RETURN(const int64_t groups, fields.IntOr(kField, heads, 1, heads));
  if (heads % groups != 0) {
    return fields.Error(kField, absl::StrCat("a divisor of num_attention_heads, which is ", heads));
  }
  config->kv_groups.assign(static_cast<size_t>(config->num_layers), static_cast<int32_t>(groups));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadHeads(const JsonFields& fields, int32_t default_head_dim, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t heads, fields.Int("num_attention_heads", 1, kMaxHeads));
  config->num_heads = static_cast<int32_t>(heads);
  QUIRE_RETURN_IF_ERROR(ReadGroups(fields, config));
  if (!fields.Has("head_dim") && default_head_dim == 0 && config->hidden_size % heads != 0) {
    return fields.Error("head_dim",
                        absl::StrCat("given when num_attention_heads (", heads,
                                     ") does not divide hidden_size (", config->hidden_size, ")"));
  }
  const int64_t fallback = default_head_dim > 0 ? default_head_dim : config->hidden_size / heads;
  QUIRE_ASSIGN_OR_RETURN(const int64_t head_dim,
                         fields.IntOr("head_dim", fallback, kHeadDimUnit, kMaxHeadDim));
  QUIRE_RETURN_IF_ERROR(CheckHeadDim(fields, "head_dim", head_dim));
  config->head_dim = static_cast<int32_t>(head_dim);
  return absl::OkStatus();
}

absl::Status ReadSwitches(const JsonFields& fields, const DecoderDefaults& defaults,
                          ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->rms_norm_eps, fields.Number("rms_norm_eps", 1e-12, 1));
  QUIRE_ASSIGN_OR_RETURN(config->tie_word_embeddings,
                         fields.BoolOr("tie_word_embeddings", defaults.tied));
  const char* field = defaults.activation_field;
  QUIRE_ASSIGN_OR_RETURN(const std::string activation, fields.StringOr(field, defaults.activation));
  if (activation == "silu" || activation == "swish") {
    config->gate = kernels::GateKind::kSilu;
  } else if (activation == "gelu_pytorch_tanh") {
    config->gate = kernels::GateKind::kGeluTanh;
  } else {
    return fields.Error(field, "\"silu\" or \"gelu_pytorch_tanh\"");
  }
  return absl::OkStatus();
}

absl::Status ReadDecoder(const JsonFields& fields, const DecoderDefaults& defaults,
                         ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadSizes(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadIntermediateSize(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadHeads(fields, defaults.head_dim, config));
  return ReadSwitches(fields, defaults, config);
}

absl::Status ReadDtype(const JsonFields& fields, ModelConfig* config) {
  const char* field = fields.Has("dtype") ? "dtype" : "torch_dtype";
  QUIRE_ASSIGN_OR_RETURN(const std::string name, fields.StringOr(field, "float32"));
  if (name == "float32") {
    config->checkpoint_dtype = kernels::DType::kF32;
  } else if (name == "float16") {
    config->checkpoint_dtype = kernels::DType::kF16;
  } else if (name == "bfloat16") {
    config->checkpoint_dtype = kernels::DType::kBF16;
  } else {
    return fields.Error(field, "\"float32\", \"float16\" or \"bfloat16\"");
  }
  return absl::OkStatus();
}

absl::Status ReadEosTokens(const JsonFields& fields, ModelConfig* config) {
  const json* value = fields.Find("eos_token_id");
  if (value == nullptr) return absl::OkStatus();
  const std::string expectation =
      absl::StrCat("a token id in [0, ", config->vocab_size, ") or a list of at most ",
                   kMaxEosTokens, " of them");
  const json list = value->is_array() ? *value : json::array({*value});
  if (list.size() > kMaxEosTokens) return fields.Error("eos_token_id", expectation);
  std::vector<TokenId> ids;
  for (const json& id : list) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() >= static_cast<uint64_t>(config->vocab_size)) {
      return fields.Error("eos_token_id", expectation);
    }
    ids.push_back(id.get<TokenId>());
  }
  config->eos_token_ids = std::move(ids);
  return absl::OkStatus();
}

absl::Status ReadBlockBiases(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->qkv_bias, fields.BoolOr("attention_bias", false));
  config->o_bias = config->qkv_bias;
  QUIRE_ASSIGN_OR_RETURN(config->mlp_bias, fields.BoolOr("mlp_bias", false));
  return absl::OkStatus();
}

absl::StatusOr<const json*> LayerList(const JsonFields& fields, const char* field,
                                      int32_t num_layers) {
  const json* list = fields.Find(field);
  if (list == nullptr || !list->is_array() || list->size() != static_cast<size_t>(num_layers)) {
    return fields.Error(field,
                        absl::StrCat("a list with an entry for each of ", num_layers, " layers"));
  }
  return list;
}

absl::StatusOr<std::vector<int32_t>> ReadSizeList(const JsonFields& fields, const char* field,
                                                  int32_t num_layers, int64_t max) {
  QUIRE_ASSIGN_OR_RETURN(const json* list, LayerList(fields, field, num_layers));
  std::vector<int32_t> sizes;
  for (const json& value : *list) {
    if (!value.is_number_integer() || !(value >= 1 && value <= max)) {
      return fields.Error(field, absl::StrCat("a list of integers in [1, ", max, "]"));
    }
    sizes.push_back(value.get<int32_t>());
  }
  return sizes;
}

absl::Status ReadGroupList(const JsonFields& fields, const char* field, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->kv_groups,
                         ReadSizeList(fields, field, config->num_layers, config->num_heads));
  for (const int32_t groups : config->kv_groups) {
    if (config->num_heads % groups == 0) continue;
    return fields.Error(
        field, absl::StrCat("a list of divisors of num_attention_heads, ", config->num_heads));
  }
  return absl::OkStatus();
}

}  // namespace quire
