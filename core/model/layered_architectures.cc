#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/architectures.h"
#include "core/model/config_limits.h"
#include "core/model/config_reader.h"
#include "core/model/json_fields.h"
#include "core/model/rope_reader.h"

// Models whose layers were searched or scaled one by one, so that heads, groups and feed-forward
// sizes are lists. DeciLM-7B and the Nemotron-NAS models call themselves by the same name.

namespace quire {
namespace {

using nlohmann::json;

constexpr double kMaxMultiplier = 1024;
constexpr int64_t kNasSizeUnit = 256;  // feed-forward sizes of Nemotron-NAS are multiples of it

// The largest of the per-layer values are the ones that stand for the whole model.
void SetLargest(ModelConfig* config) {
  const auto largest = [](const std::vector<int32_t>& values, int32_t otherwise) {
    return values.empty() ? otherwise : *std::max_element(values.begin(), values.end());
  };
  config->num_heads = largest(config->layer_heads, config->num_heads);
  config->intermediate_size = largest(config->layer_intermediate_sizes, config->intermediate_size);
}

// One of "attention" and "ffn" of an entry of block_configs. Fields that ask for another kind of
// block are refused.
absl::StatusOr<JsonFields> BlockPart(const json& block, const std::string& where,
                                     const char* part) {
  const JsonFields fields(block, where);
  const json* object = block.is_object() ? fields.Find(part) : nullptr;
  if (object == nullptr || !object->is_object()) return fields.Error(part, "an object");
  JsonFields out(*object, absl::StrCat(where, ".", part));
  for (const char* other :
       {"replace_with_linear", "sparsify", "window_length", "num_sink_tokens", "unshifted_sink"}) {
    const json* value = out.Find(other);
    if (value == nullptr || *value == false) continue;
    return out.Error(other, "absent or false: what it asks for is not supported");
  }
  return out;
}

absl::StatusOr<int32_t> ReadBlockGroups(const JsonFields& attention, int32_t heads) {
  QUIRE_ASSIGN_OR_RETURN(const bool none, attention.BoolOr("no_op", false));
  if (none) return 0;
  QUIRE_ASSIGN_OR_RETURN(const int64_t q_per_group, attention.Int("n_heads_in_group", 1, heads));
  if (heads % q_per_group == 0) return static_cast<int32_t>(heads / q_per_group);
  return attention.Error("n_heads_in_group",
                         absl::StrCat("a divisor of num_attention_heads, which is ", heads));
}

absl::StatusOr<int32_t> ReadBlockIntermediate(const JsonFields& ffn, int32_t hidden) {
  QUIRE_ASSIGN_OR_RETURN(const bool none, ffn.BoolOr("no_op", false));
  if (none) return 0;
  QUIRE_ASSIGN_OR_RETURN(const double multiplier, ffn.Number("ffn_mult", 1e-3, kMaxMultiplier));
  const auto size = static_cast<int64_t>(2 * multiplier * hidden / 3);
  const int64_t rounded = (size + kNasSizeUnit - 1) / kNasSizeUnit * kNasSizeUnit;
  if (rounded >= 1 && rounded <= kMaxIntermediate) return static_cast<int32_t>(rounded);
  return ffn.Error("ffn_mult", absl::StrCat("such that the feed-forward size, here ", rounded,
                                            ", is in [1, ", kMaxIntermediate, "]"));
}

absl::Status ReadBlockConfigs(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(const json* blocks,
                         LayerList(fields, "block_configs", config->num_layers));
  config->kv_groups.clear();
  for (size_t i = 0; i < blocks->size(); ++i) {
    const std::string where = absl::StrCat(fields.where(), ": block_configs[", i, "]");
    QUIRE_ASSIGN_OR_RETURN(const JsonFields attention, BlockPart((*blocks)[i], where, "attention"));
    QUIRE_ASSIGN_OR_RETURN(const int32_t groups, ReadBlockGroups(attention, config->num_heads));
    QUIRE_ASSIGN_OR_RETURN(const JsonFields ffn, BlockPart((*blocks)[i], where, "ffn"));
    QUIRE_ASSIGN_OR_RETURN(const int32_t size, ReadBlockIntermediate(ffn, config->hidden_size));
    config->kv_groups.push_back(groups);
    config->layer_intermediate_sizes.push_back(size);
  }
  const auto none = [](int32_t size) { return size == 0; };
  if (std::all_of(config->kv_groups.begin(), config->kv_groups.end(), none)) {
    return fields.Error("block_configs", "such that at least one layer has attention");
  }
  return absl::OkStatus();
}

// These have a field of their own for groups that differ, which counts alone.
absl::Status RefuseSecondGroupList(const JsonFields& fields) {
  const json* groups = fields.Find("num_key_value_heads");
  if (groups == nullptr || !groups->is_array()) return absl::OkStatus();
  return fields.Error("num_key_value_heads",
                      "one number: groups that differ from layer to layer are in "
                      "num_key_value_heads_per_layer or block_configs");
}

}  // namespace

absl::Status ReadDeciLm(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadSizes(fields, config));
  QUIRE_RETURN_IF_ERROR(RefuseSecondGroupList(fields));
  QUIRE_RETURN_IF_ERROR(ReadHeads(fields, 0, config));
  if (fields.Has("block_configs")) {
    QUIRE_RETURN_IF_ERROR(ReadBlockConfigs(fields, config));
  } else {
    QUIRE_RETURN_IF_ERROR(ReadGroupList(fields, "num_key_value_heads_per_layer", config));
    QUIRE_RETURN_IF_ERROR(ReadIntermediateSize(fields, config));
  }
  SetLargest(config);
  QUIRE_RETURN_IF_ERROR(ReadSwitches(fields, {}, config));
  QUIRE_RETURN_IF_ERROR(ReadBlockBiases(fields, config));
  return ReadRope(fields, {}, config);
}

namespace {

absl::Status ReadOpenElmSizes(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size", 1, kMaxVocab));
  QUIRE_ASSIGN_OR_RETURN(config->hidden_size, fields.Int("model_dim", 1, kMaxHidden));
  QUIRE_ASSIGN_OR_RETURN(config->num_layers, fields.Int("num_transformer_layers", 1, kMaxLayers));
  QUIRE_ASSIGN_OR_RETURN(config->max_positions, fields.Int("max_context_length", 1, kMaxPositions));
  QUIRE_ASSIGN_OR_RETURN(const int64_t head_dim, fields.Int("head_dim", 1, kMaxHidden));
  QUIRE_RETURN_IF_ERROR(CheckHeadDim(fields, "head_dim", head_dim));
  config->head_dim = static_cast<int32_t>(head_dim);
  QUIRE_ASSIGN_OR_RETURN(config->layer_heads,
                         ReadSizeList(fields, "num_query_heads", config->num_layers, kMaxHeads));
  QUIRE_ASSIGN_OR_RETURN(config->kv_groups,
                         ReadSizeList(fields, "num_kv_heads", config->num_layers, kMaxHeads));
  for (size_t l = 0; l < config->kv_groups.size(); ++l) {
    if (config->layer_heads[l] % config->kv_groups[l] == 0) continue;
    return fields.Error("num_kv_heads", absl::StrCat("divisors of num_query_heads, but layer ", l,
                                                     " has ", config->layer_heads[l], " heads"));
  }
  return absl::OkStatus();
}

// A multiple of the unit near multiplier * model_dim, not more than a tenth below it.
absl::Status ReadFfnMultipliers(const JsonFields& fields, ModelConfig* config) {
  constexpr char kField[] = "ffn_multipliers";
  QUIRE_ASSIGN_OR_RETURN(const json* list, LayerList(fields, kField, config->num_layers));
  QUIRE_ASSIGN_OR_RETURN(const int64_t unit,
                         fields.IntOr("ffn_dim_divisor", 256, 1, kMaxIntermediate));
  for (const json& value : *list) {
    const bool is_number =
        value.is_number() && value.get<double>() > 0 && value.get<double>() <= kMaxMultiplier;
    const double wanted = is_number ? value.get<double>() * config->hidden_size : 0;
    const double units =
        std::floor((wanted + static_cast<double>(unit) / 2) / static_cast<double>(unit));
    int64_t size = std::max(unit, static_cast<int64_t>(units) * unit);
    if (static_cast<double>(size) < 0.9 * wanted) size += unit;
    if (!is_number || size > kMaxIntermediate) {
      return fields.Error(kField, absl::StrCat("a list of numbers that make feed-forward sizes of "
                                               "at most ",
                                               kMaxIntermediate));
    }
    config->layer_intermediate_sizes.push_back(static_cast<int32_t>(size));
  }
  return absl::OkStatus();
}

absl::Status ReadOpenElmSwitches(const JsonFields& fields, ModelConfig* config) {
  const struct {
    const char* field;
    const char* value;
  } strings[] = {{"activation_fn_name", "swish"}, {"normalization_layer_name", "rms_norm"}};
  for (const auto& expected : strings) {
    QUIRE_ASSIGN_OR_RETURN(const std::string found,
                           fields.StringOr(expected.field, expected.value));
    if (found == expected.value) continue;
    return fields.Error(expected.field, absl::StrCat("\"", expected.value, "\""));
  }
  QUIRE_ASSIGN_OR_RETURN(const bool gated, fields.BoolOr("ffn_with_glu", true));
  if (!gated) return fields.Error("ffn_with_glu", "true");
  QUIRE_ASSIGN_OR_RETURN(config->qk_norm, fields.BoolOr("normalize_qk_projections", false));
  QUIRE_ASSIGN_OR_RETURN(config->tie_word_embeddings,
                         fields.BoolOr("share_input_output_layers", true));
  config->rms_norm_eps = 1e-6f;
  QUIRE_ASSIGN_OR_RETURN(config->rope.theta,
                         fields.NumberOr("rope_freq_constant", 10000, 1, kMaxRopeTheta));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadOpenElm(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadOpenElmSizes(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadFfnMultipliers(fields, config));
  SetLargest(config);
  QUIRE_RETURN_IF_ERROR(ReadOpenElmSwitches(fields, config));
  config->tensors = {.embedding = "transformer.token_embeddings",
                     .final_norm = "transformer.norm",
                     .layers = "transformer.layers.",
                     .attention_norm = "attn_norm",
                     .qkv = {"attn.qkv_proj"},
                     .q_norm = "attn.q_norm",
                     .k_norm = "attn.k_norm",
                     .o = "attn.out_proj",
                     .mlp_norm = "ffn_norm",
                     .gate_up = {"ffn.proj_1"},
                     .down = "ffn.proj_2"};
  return absl::OkStatus();
}

}  // namespace quire
