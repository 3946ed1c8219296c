#include "core/model/gguf_tokenizer.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/gguf_fields.h"
#include "core/model/gguf_vocabulary.h"
#include "core/model/mapped_file.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr char kModelKey[] = "tokenizer.ggml.model";
constexpr char kTemplateKey[] = "tokenizer.chat_template";

absl::StatusOr<json> ChatConfig(const GgufFields& fields, const GgufVocabulary& vocabulary) {
  json config = json::object();
  const auto add = [&](const char* name, TokenId id) {
    if (id >= 0) config[name] = std::string(vocabulary.tokens[static_cast<size_t>(id)]);
  };
  add("bos_token", vocabulary.bos);
  add("eos_token", vocabulary.eos);
  if (fields.Has(kTemplateKey)) {
    QUIRE_ASSIGN_OR_RETURN(const std::string_view text, fields.String(kTemplateKey));
    config["chat_template"] = std::string(text);
  }
  return config;
}

absl::StatusOr<std::string> Dump(const GgufFields& fields, const json& config) {
  try {
    return config.dump();
  } catch (const json::exception&) {
    return fields.Error(kTemplateKey, "well-formed UTF-8, as must be the special tokens");
  }
}

}  // namespace

absl::StatusOr<GgufTokenizerFiles> ReadGgufTokenizer(const GgufFile& file,
                                                     const std::string& where) {
  const GgufFields fields(file, where);
  QUIRE_ASSIGN_OR_RETURN(const std::string_view model, fields.String(kModelKey));
  const bool byte_level = model == "gpt2";
  if (!byte_level && model != "llama") {
    return fields.Error(kModelKey,
                        "\"gpt2\" or \"llama\", the kinds that are supported; a tokenizer.json "
                        "beside the file will do as well");
  }
  bool add_bos = true;
  if (byte_level) {
    QUIRE_ASSIGN_OR_RETURN(add_bos, GgufByteLevelAddsBos(fields));
  }
  QUIRE_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, ReadGgufVocabulary(fields, add_bos));
  GgufTokenizerFiles out;
  if (byte_level) {
    QUIRE_ASSIGN_OR_RETURN(out.tokenizer_json, GgufByteLevelJson(fields, vocabulary));
  } else {
    QUIRE_ASSIGN_OR_RETURN(out.tokenizer_model, GgufSentencePieceModel(fields, vocabulary));
  }
  QUIRE_ASSIGN_OR_RETURN(json config, ChatConfig(fields, vocabulary));
  config["add_bos_token"] = vocabulary.add_bos;
  config["add_eos_token"] = vocabulary.add_eos;
  QUIRE_ASSIGN_OR_RETURN(out.tokenizer_config, Dump(fields, config));
  return out;
}

absl::StatusOr<std::string> ReadGgufChatConfig(const GgufFile& file, const std::string& where) {
  const GgufFields fields(file, where);
  if (!fields.Has(kTemplateKey)) return "{}";
  GgufVocabulary vocabulary;
  if (fields.Has(kGgufTokensKey)) {
    QUIRE_ASSIGN_OR_RETURN(vocabulary, ReadGgufTokens(fields));
  }
  QUIRE_ASSIGN_OR_RETURN(const json config, ChatConfig(fields, vocabulary));
  return Dump(fields, config);
}

absl::StatusOr<GgufTokenizerFiles> LoadGgufTokenizer(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  QUIRE_ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(mapped.bytes(), path));
  return ReadGgufTokenizer(file, path);
}

absl::StatusOr<std::string> LoadGgufChatConfig(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  QUIRE_ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(mapped.bytes(), path));
  return ReadGgufChatConfig(file, path);
}

}  // namespace quire
