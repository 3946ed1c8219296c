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

absl::StatusOr<std::string> ConfigJson(const GgufFields& fields, bool add_bos) {
  QUIRE_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, ReadGgufVocabulary(fields, add_bos));
  json config = {{"add_bos_token", vocabulary.add_bos}, {"add_eos_token", vocabulary.add_eos}};
  const auto token = [&](TokenId id) {
    return std::string(vocabulary.tokens[static_cast<size_t>(id)]);
  };
  if (vocabulary.bos >= 0) config["bos_token"] = token(vocabulary.bos);
  if (vocabulary.eos >= 0) config["eos_token"] = token(vocabulary.eos);
  constexpr char kTemplate[] = "tokenizer.chat_template";
  if (fields.Has(kTemplate)) {
    QUIRE_ASSIGN_OR_RETURN(const std::string_view text, fields.String(kTemplate));
    config["chat_template"] = std::string(text);
  }
  try {
    return config.dump();
  } catch (const json::exception&) {
    return fields.Error(kTemplate, "well-formed UTF-8, as must be the special tokens");
  }
}

}  // namespace

absl::StatusOr<GgufTokenizerFiles> ReadGgufTokenizer(const GgufFile& file,
                                                     const std::string& where) {
  const GgufFields fields(file, where);
  QUIRE_ASSIGN_OR_RETURN(const std::string_view model, fields.String(kModelKey));
  GgufTokenizerFiles out;
  if (model == "gpt2") {
    QUIRE_ASSIGN_OR_RETURN(out.tokenizer_json, GgufByteLevelJson(fields));
  } else if (model == "llama") {
    QUIRE_ASSIGN_OR_RETURN(out.tokenizer_model, GgufSentencePieceModel(fields));
  } else {
    return fields.Error(kModelKey,
                        "\"gpt2\" or \"llama\", the kinds that are supported; a tokenizer.json "
                        "beside the file will do as well");
  }
  QUIRE_ASSIGN_OR_RETURN(out.tokenizer_config, ConfigJson(fields, model == "llama"));
  return out;
}

absl::StatusOr<GgufTokenizerFiles> LoadGgufTokenizer(const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  QUIRE_ASSIGN_OR_RETURN(const GgufFile file, ParseGguf(mapped.bytes(), path));
  return ReadGgufTokenizer(file, path);
}

}  // namespace quire
