#include "core/model/quant_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/json_fields.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr int64_t kMaxGroup = 1 << 16;
constexpr int64_t kMaxBlock = 1 << 12;

absl::Status ReadGroupSize(const JsonFields& fields, QuantConfig* out) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t size, fields.IntOr("group_size", 128, -1, kMaxGroup));
  if (size == 0) return fields.Error("group_size", "-1 for one group, or the inputs of a group");
  out->group_size = size == -1 ? 0 : size;
  return absl::OkStatus();
}

absl::StatusOr<QuantConfig> ReadGptq(const JsonFields& fields) {
  QuantConfig out{.method = QuantMethod::kGptq};
  QUIRE_ASSIGN_OR_RETURN(const int64_t bits, fields.Int("bits", 2, 8));
  if (bits != 4 && bits != 8) return fields.Error("bits", "4 or 8");
  out.bits = static_cast<int32_t>(bits);
  QUIRE_RETURN_IF_ERROR(ReadGroupSize(fields, &out));
  QUIRE_ASSIGN_OR_RETURN(out.needs_group_index, fields.BoolOr("desc_act", false));
  const char* field = fields.Has("checkpoint_format") ? "checkpoint_format" : "format";
  QUIRE_ASSIGN_OR_RETURN(const std::string format, fields.StringOr(field, "gptq"));
  if (format != "gptq" && format != "gptq_v2") {
    return fields.Error(field, "\"gptq\" or \"gptq_v2\"; save the model in one of them");
  }
  out.zeros_less_one = format == "gptq";
  const json* dynamic = fields.Find("dynamic");
  if (dynamic != nullptr && !dynamic->empty()) {
    return fields.Error("dynamic", "absent: one setting for all layers is what can be read");
  }
  return out;
}

absl::StatusOr<QuantConfig> ReadAwq(const JsonFields& fields) {
  QuantConfig out{.method = QuantMethod::kAwq};
  QUIRE_RETURN_IF_ERROR(fields.IntOr("bits", 4, 4, 4).status());
  QUIRE_RETURN_IF_ERROR(ReadGroupSize(fields, &out));
  const char* field = fields.Has("version") ? "version" : "format";
  QUIRE_ASSIGN_OR_RETURN(const std::string version, fields.StringOr(field, "gemm"));
  if (absl::AsciiStrToLower(version) != "gemm") {
    return fields.Error(field, "\"gemm\"; save the model in that form");
  }
  QUIRE_ASSIGN_OR_RETURN(const std::string backend, fields.StringOr("backend", "auto"));
  if (backend == "llm-awq") return fields.Error("backend", "another one: its layout is its own");
  QUIRE_ASSIGN_OR_RETURN(const bool zero_point, fields.BoolOr("zero_point", true));
  if (!zero_point) return fields.Error("zero_point", "true");
  return out;
}

absl::Status ReadBlock(const JsonFields& fields, const char* field, QuantConfig* out) {
  const json* block = fields.Find(field);
  const auto size = [&](size_t i) {
    const json& value = (*block)[i];
    return value.is_number_unsigned() && value >= 1 && value <= kMaxBlock ? value.get<int64_t>()
                                                                          : 0;
  };
  if (!block->is_array() || block->size() != 2 || size(0) == 0 || size(1) == 0) {
    return fields.Error(field, absl::StrCat("two sizes in [1, ", kMaxBlock, "]"));
  }
  out->block_rows = size(0);
  out->block_cols = size(1);
  return absl::OkStatus();
}

absl::StatusOr<QuantConfig> ReadFp8(const JsonFields& fields) {
  QuantConfig out{.method = QuantMethod::kFp8};
  QUIRE_ASSIGN_OR_RETURN(const std::string format, fields.StringOr("fmt", "e4m3"));
  if (format != "e4m3") return fields.Error("fmt", "\"e4m3\"");
  if (fields.Has("weight_block_size")) {
    QUIRE_RETURN_IF_ERROR(ReadBlock(fields, "weight_block_size", &out));
  }
  return out;
}

// The weights of one entry of config_groups.
absl::StatusOr<QuantConfig> ReadGroup(const json& group, const std::string& where) {
  const JsonFields fields(group, where);
  const json* object = group.is_object() ? fields.Find("weights") : nullptr;
  if (object == nullptr || !object->is_object()) return fields.Error("weights", "an object");
  const JsonFields weights(*object, where + ".weights");
  QUIRE_ASSIGN_OR_RETURN(const std::string type, weights.StringOr("type", "int"));
  if (type != "float") return weights.Error("type", "\"float\"");
  QUIRE_RETURN_IF_ERROR(weights.Int("num_bits", 8, 8).status());
  QUIRE_ASSIGN_OR_RETURN(const bool symmetric, weights.BoolOr("symmetric", true));
  if (!symmetric) return weights.Error("symmetric", "true");
  QuantConfig out{.method = QuantMethod::kFp8};
  QUIRE_ASSIGN_OR_RETURN(const std::string strategy, weights.StringOr("strategy", "tensor"));
  if (strategy == "block") {
    if (!weights.Has("block_structure")) return weights.Error("block_structure", "two sizes");
    QUIRE_RETURN_IF_ERROR(ReadBlock(weights, "block_structure", &out));
  } else if (strategy != "tensor" && strategy != "channel") {
    return weights.Error("strategy", "\"tensor\", \"channel\" or \"block\"");
  }
  return out;
}

absl::StatusOr<QuantConfig> ReadCompressedTensors(const JsonFields& fields) {
  QUIRE_ASSIGN_OR_RETURN(const std::string format, fields.StringOr("format", ""));
  if (format != "float-quantized" && format != "naive-quantized") {
    return fields.Error("format", "\"float-quantized\", which is FP8");
  }
  const json* transforms = fields.Find("transform_config");
  if (transforms != nullptr && !transforms->empty()) {
    return fields.Error("transform_config", "absent: transformed weights cannot be read");
  }
  const json* groups = fields.Find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    return fields.Error("config_groups", "an object with a group");
  }
  std::optional<QuantConfig> out;
  for (const auto& [name, group] : groups->items()) {
    const std::string where = absl::StrCat(fields.where(), ".config_groups.", name);
    QUIRE_ASSIGN_OR_RETURN(const QuantConfig read, ReadGroup(group, where));
    if (out.has_value() &&
        (out->block_rows != read.block_rows || out->block_cols != read.block_cols)) {
      return fields.Error("config_groups", "groups with the same blocks");
    }
    out = read;
  }
  return *out;
}

struct Method {
  const char* name;
  absl::StatusOr<QuantConfig> (*read)(const JsonFields& fields);
};
constexpr Method kMethods[] = {{"awq", ReadAwq},
                               {"compressed-tensors", ReadCompressedTensors},
                               {"fp8", ReadFp8},
                               {"gptq", ReadGptq}};

}  // namespace

absl::StatusOr<std::optional<QuantConfig>> ReadQuantConfig(const JsonFields& config) {
  // The second name is what compressed-tensors used before.
  const char* field =
      config.Has("quantization_config") ? "quantization_config" : "compression_config";
  const json* object = config.Find(field);
  if (object == nullptr) return std::nullopt;
  if (!object->is_object()) return config.Error(field, "an object");
  const JsonFields fields(*object, absl::StrCat(config.where(), ": ", field));
  QUIRE_ASSIGN_OR_RETURN(const std::string name, fields.StringOr("quant_method", ""));
  std::string supported;
  for (const Method& method : kMethods) {
    if (name == method.name) return method.read(fields);
    absl::StrAppend(&supported, supported.empty() ? "" : ", ", method.name);
  }
  return fields.Error("quant_method",
                      absl::StrCat("one of those that are supported, ", supported,
                                   "; without quantization_config a model is in BF16, F16 or F32"));
}

absl::StatusOr<std::optional<QuantConfig>> LoadQuantConfig(const std::string& model_dir) {
  const std::string path = absl::StrCat(model_dir, "/config.json");
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  QUIRE_RETURN_IF_ERROR(text.status());
  QUIRE_ASSIGN_OR_RETURN(const json object, ParseJson(*text, path));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": must be a JSON object"));
  }
  return ReadQuantConfig(JsonFields(object, path));
}

}  // namespace quire
