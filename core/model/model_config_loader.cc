#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "core/model/architectures.h"
#include "core/model/config_limits.h"
#include "core/model/config_reader.h"
#include "core/model/gguf_config.h"
#include "core/model/gguf_path.h"
#include "core/model/json_fields.h"
#include "core/model/model_config.h"

namespace quire {
namespace {

using nlohmann::json;

absl::StatusOr<const Architecture*> FindArchitecture(const JsonFields& fields) {
  const json* list = fields.Find("architectures");
  const bool one =
      list != nullptr && list->is_array() && list->size() == 1 && (*list)[0].is_string();
  for (const Architecture& architecture : Architectures()) {
    if (one && (*list)[0] == architecture.name) return &architecture;
  }
  return fields.Error("architectures", absl::StrCat("a list with one of the supported names, ",
                                                    absl::StrJoin(SupportedArchitectures(), ", ")));
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

absl::StatusOr<json> ParseObject(std::string_view text, const std::string& where) {
  QUIRE_ASSIGN_OR_RETURN(json object, ParseJson(text, where));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": must be a JSON object"));
  }
  return object;
}

absl::StatusOr<json> ReadObject(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxConfigBytes));
  return ParseObject(text, path);
}

absl::Status ReadConfig(const JsonFields& fields, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(fields));
  config->architecture = architecture->name;
  QUIRE_RETURN_IF_ERROR(RefuseUnsupported(fields));
  QUIRE_RETURN_IF_ERROR(architecture->read(fields, config));
  QUIRE_RETURN_IF_ERROR(ReadDtype(fields, config));
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

std::vector<std::string> SupportedArchitectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : Architectures()) names.emplace_back(architecture.name);
  return names;
}

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text, const std::string& where) {
  QUIRE_ASSIGN_OR_RETURN(const json object, ParseObject(text, where));
  ModelConfig config;
  QUIRE_RETURN_IF_ERROR(ReadConfig(JsonFields(object, where), &config));
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& model_dir) {
  QUIRE_ASSIGN_OR_RETURN(const std::string gguf, FindGgufFile(model_dir));
  if (!gguf.empty()) return LoadGgufConfig(gguf);
  const std::string path = absl::StrCat(model_dir, "/config.json");
  QUIRE_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxConfigBytes));
  QUIRE_ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(text, path));
  config.name = DirectoryName(model_dir);

  const std::string generation_path = absl::StrCat(model_dir, "/generation_config.json");
  const absl::StatusOr<json> generation = ReadObject(generation_path);
  if (absl::IsNotFound(generation.status())) return config;
  QUIRE_RETURN_IF_ERROR(generation.status());
  QUIRE_RETURN_IF_ERROR(ReadGenerationDefaults(JsonFields(*generation, generation_path), &config));
  return config;
}

}  // namespace quire
