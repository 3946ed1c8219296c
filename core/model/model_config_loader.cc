#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/json_fields.h"
#include "core/model/model_config.h"

// Bounds on a model's sizes: far above any model there is, and low enough that no product of them
// that this folder or the kernels compute leaves its type.

namespace quire {
namespace {

using nlohmann::json;

constexpr size_t kMaxConfigBytes = size_t{4} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 22;
constexpr int64_t kMaxHidden = int64_t{1} << 16;
constexpr int64_t kMaxIntermediate = int64_t{1} << 18;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;
// Attention works on whole vectors of a head; these are the heads that every back end takes.
constexpr int64_t kHeadDimUnit = 16;
constexpr int64_t kMaxHeadDim = 256;
constexpr int64_t kMaxPositions = int64_t{1} << 24;  // a float32 still counts them one by one
constexpr size_t kMaxEosTokens = 64;

constexpr char kSupportedArchitecture[] = "LlamaForCausalLM";

absl::Status ReadArchitecture(const JsonFields& fields, ModelConfig* config) {
  const json* list = fields.Find("architectures");
  if (list == nullptr || !list->is_array() || list->size() != 1 || !list->at(0).is_string() ||
      list->at(0).get<std::string>() != kSupportedArchitecture) {
    return fields.Error("architectures", absl::StrCat("[\"", kSupportedArchitecture,
                                                      "\"], the architecture that is supported"));
  }
  if (fields.Has("quantization_config")) {
    return fields.Error("quantization_config",
                        "absent: quantized checkpoints are not supported; use one in BF16, F16 "
                        "or F32");
  }
  config->architecture = kSupportedArchitecture;
  return absl::OkStatus();
}

absl::Status ReadHeads(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t heads, fields.Int("num_attention_heads", 1, kMaxHeads));
  QUIRE_ASSIGN_OR_RETURN(const int64_t groups,
                         fields.IntOr("num_key_value_heads", heads, 1, heads));
  if (heads % groups != 0) {
    return fields.Error("num_key_value_heads",
                        absl::StrCat("a divisor of num_attention_heads, which is ", heads));
  }
  if (!fields.Has("head_dim") && config->hidden_size % heads != 0) {
    return fields.Error("head_dim",
                        absl::StrCat("given when num_attention_heads (", heads,
                                     ") does not divide hidden_size (", config->hidden_size, ")"));
  }
  QUIRE_ASSIGN_OR_RETURN(
      const int64_t head_dim,
      fields.IntOr("head_dim", config->hidden_size / heads, kHeadDimUnit, kMaxHeadDim));
  if (head_dim < kHeadDimUnit || head_dim > kMaxHeadDim || head_dim % kHeadDimUnit != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields.where(), ": the head dimension must be a multiple of ", kHeadDimUnit,
                     " in [", kHeadDimUnit, ", ", kMaxHeadDim, "], found ", head_dim,
                     fields.Has("head_dim") ? "" : " (hidden_size / num_attention_heads)"));
  }
  config->num_heads = static_cast<int32_t>(heads);
  config->kv_groups.assign(static_cast<size_t>(config->num_layers), static_cast<int32_t>(groups));
  config->head_dim = static_cast<int32_t>(head_dim);
  return absl::OkStatus();
}

absl::Status ReadSizes(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size", 1, kMaxVocab));
  QUIRE_ASSIGN_OR_RETURN(config->hidden_size, fields.Int("hidden_size", 1, kMaxHidden));
  QUIRE_ASSIGN_OR_RETURN(config->intermediate_size,
                         fields.Int("intermediate_size", 1, kMaxIntermediate));
  QUIRE_ASSIGN_OR_RETURN(config->num_layers, fields.Int("num_hidden_layers", 1, kMaxLayers));
  QUIRE_ASSIGN_OR_RETURN(config->max_positions,
                         fields.Int("max_position_embeddings", 1, kMaxPositions));
  return ReadHeads(fields, config);
}

absl::Status ReadSwitches(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->rms_norm_eps, fields.Number("rms_norm_eps", 1e-12, 1));
  QUIRE_ASSIGN_OR_RETURN(config->tie_word_embeddings, fields.BoolOr("tie_word_embeddings", false));
  QUIRE_ASSIGN_OR_RETURN(config->attention_bias, fields.BoolOr("attention_bias", false));
  QUIRE_ASSIGN_OR_RETURN(config->mlp_bias, fields.BoolOr("mlp_bias", false));
  QUIRE_ASSIGN_OR_RETURN(const std::string activation, fields.StringOr("hidden_act", "silu"));
  if (activation != "silu") return fields.Error("hidden_act", "\"silu\"");
  return absl::OkStatus();
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

// The scaling that makes Llama 3.1 reach beyond the length it was trained on.
absl::Status ReadLlama3Scaling(const JsonFields& rope, ModelConfig* config) {
  RopeConfig* out = &config->rope;
  QUIRE_ASSIGN_OR_RETURN(out->factor, rope.Number("factor", 1, 1e6));
  QUIRE_ASSIGN_OR_RETURN(out->low_freq_factor, rope.Number("low_freq_factor", 1e-6, 1e6));
  QUIRE_ASSIGN_OR_RETURN(out->high_freq_factor, rope.Number("high_freq_factor", 1e-6, 1e6));
  QUIRE_ASSIGN_OR_RETURN(
      out->original_max_positions,
      rope.IntOr("original_max_position_embeddings", config->max_positions, 1, kMaxPositions));
  if (out->high_freq_factor <= out->low_freq_factor) {
    return rope.Error("high_freq_factor", "above low_freq_factor");
  }
  return absl::OkStatus();
}

// Newer checkpoints keep everything in `rope_parameters`; older ones have `rope_theta` at the top
// and the rest in `rope_scaling`, whose type may be called `type`.
absl::Status ReadRope(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->rope.theta, fields.NumberOr("rope_theta", 10000.0, 1, 1e12));
  const char* field = fields.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const json* object = fields.Find(field);
  if (object == nullptr) return absl::OkStatus();
  if (!object->is_object()) return fields.Error(field, "an object");

  const JsonFields rope(*object, absl::StrCat(fields.where(), ": ", field));
  QUIRE_ASSIGN_OR_RETURN(config->rope.theta,
                         rope.NumberOr("rope_theta", config->rope.theta, 1, 1e12));
  QUIRE_ASSIGN_OR_RETURN(const double rotated, rope.NumberOr("partial_rotary_factor", 1, 0, 1));
  if (rotated != 1) return rope.Error("partial_rotary_factor", "1");
  const char* type_field = rope.Has("rope_type") ? "rope_type" : "type";
  QUIRE_ASSIGN_OR_RETURN(const std::string type, rope.StringOr(type_field, "default"));
  if (type == "default") return absl::OkStatus();
  if (type == "llama3") return ReadLlama3Scaling(rope, config);
  return rope.Error(type_field, "\"default\" or \"llama3\", the kinds that are supported");
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

absl::Status ReadGenerationDefaults(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadEosTokens(fields, config));
  QUIRE_ASSIGN_OR_RETURN(config->default_temperature, fields.NumberOr("temperature", 1, 0, 100));
  QUIRE_ASSIGN_OR_RETURN(config->default_top_p, fields.NumberOr("top_p", 1, 1e-6, 1));
  QUIRE_ASSIGN_OR_RETURN(const int64_t top_k, fields.IntOr("top_k", 0, 0, kMaxVocab));
  config->default_top_k = static_cast<int32_t>(std::min<int64_t>(top_k, config->vocab_size));
  QUIRE_ASSIGN_OR_RETURN(config->default_repetition_penalty,
                         fields.NumberOr("repetition_penalty", 1, 1e-3, 100));
  QUIRE_ASSIGN_OR_RETURN(const bool do_sample, fields.BoolOr("do_sample", true));
  if (!do_sample) config->default_temperature = 0;
  return absl::OkStatus();
}

absl::StatusOr<json> ReadObject(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxConfigBytes));
  QUIRE_ASSIGN_OR_RETURN(json object, ParseJson(text, path));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": must be a JSON object"));
  }
  return object;
}

absl::Status ReadConfig(const JsonFields& fields, ModelConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadArchitecture(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadSizes(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadSwitches(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadDtype(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadRope(fields, config));
  return ReadEosTokens(fields, config);
}

// The name as the user wrote it: a symbolic link keeps its own.
std::string DirectoryName(const std::string& model_dir) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(model_dir, error).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return error ? model_dir : path.filename().string();
}

}  // namespace

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model_dir) {
  ModelConfig config;
  config.name = DirectoryName(model_dir);
  const std::string path = absl::StrCat(model_dir, "/config.json");
  QUIRE_ASSIGN_OR_RETURN(const json object, ReadObject(path));
  QUIRE_RETURN_IF_ERROR(ReadConfig(JsonFields(object, path), &config));

  const std::string generation_path = absl::StrCat(model_dir, "/generation_config.json");
  const absl::StatusOr<json> generation = ReadObject(generation_path);
  if (absl::IsNotFound(generation.status())) return config;
  QUIRE_RETURN_IF_ERROR(generation.status());
  QUIRE_RETURN_IF_ERROR(ReadGenerationDefaults(JsonFields(*generation, generation_path), &config));
  return config;
}

}  // namespace quire
