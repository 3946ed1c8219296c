#include "core/engine/model_tokenizer.h"

#include <filesystem>

#include "core/base/status_macros.h"
#include "core/model/gguf_path.h"
#include "core/model/gguf_tokenizer.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/chat_detection.h"
#include "core/text/chat_metadata.h"
#include "core/text/sentencepiece_tokenizer.h"
#include "core/text/tokenizer_config.h"

namespace quire {
namespace {

std::string FolderOf(const std::string& file) {
  const std::string folder = std::filesystem::path(file).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadModelTokenizer(const std::string& model) {
  QUIRE_ASSIGN_OR_RETURN(const std::string gguf, FindGgufFile(model));
  if (gguf.empty()) return LoadTokenizer(model);
  absl::StatusOr<std::unique_ptr<Tokenizer>> beside = LoadTokenizer(FolderOf(gguf));
  if (!absl::IsNotFound(beside.status())) return beside;
  QUIRE_ASSIGN_OR_RETURN(const GgufTokenizerFiles files, LoadGgufTokenizer(gguf));
  if (!files.tokenizer_json.empty()) return BpeTokenizer::FromJson(files.tokenizer_json, {});
  QUIRE_ASSIGN_OR_RETURN(const TokenizerConfig config,
                         ParseTokenizerConfig(files.tokenizer_config, "", {}));
  return SentencePieceTokenizer::FromModel(files.tokenizer_model, config, {});
}

namespace {

absl::StatusOr<ChatMetadata> LoadChatMetadata(const std::string& model) {
  QUIRE_ASSIGN_OR_RETURN(const std::string gguf, FindGgufFile(model));
  if (gguf.empty()) return ReadChatMetadata(model);
  QUIRE_ASSIGN_OR_RETURN(ChatMetadata beside, ReadChatMetadata(FolderOf(gguf)));
  if (!beside.chat_template.empty()) return beside;
  QUIRE_ASSIGN_OR_RETURN(const std::string config, LoadGgufChatConfig(gguf));
  return ParseChatMetadata(config);
}

}  // namespace

absl::StatusOr<ChatFormat> LoadChatFormat(const std::string& model, const std::string& family_name,
                                          const Tokenizer& tokenizer) {
  if (!family_name.empty()) {
    QUIRE_ASSIGN_OR_RETURN(const ChatFamily family, ParseChatFamily(family_name));
    QUIRE_RETURN_IF_ERROR(CheckChatMarks(family, tokenizer));
    return ChatFormat{.family = family, .why_none = ""};
  }
  QUIRE_ASSIGN_OR_RETURN(const ChatMetadata metadata, LoadChatMetadata(model));
  const absl::StatusOr<ChatFamily> family = DetectChatFamily(metadata);
  const absl::Status usable = family.ok() ? CheckChatMarks(*family, tokenizer) : family.status();
  if (usable.ok()) return ChatFormat{.family = *family, .why_none = ""};
  return ChatFormat{.family = std::nullopt, .why_none = std::string(usable.message())};
}

}  // namespace quire
