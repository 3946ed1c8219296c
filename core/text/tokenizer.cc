#include "core/text/tokenizer.h"

#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/sentencepiece_tokenizer.h"
#include "core/text/tokenizer_config.h"

namespace quire {
namespace {

absl::StatusOr<std::string> ReadFileIfAny(const std::filesystem::path& path, size_t max_bytes) {
  absl::StatusOr<std::string> content = ReadSmallFile(path.string(), max_bytes);
  return absl::IsNotFound(content.status()) ? std::string() : content;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadSentencePiece(const std::filesystem::path& folder,
                                                             std::string_view model,
                                                             const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const std::string config_json,
                         ReadFileIfAny(folder / "tokenizer_config.json", limits.max_file_bytes));
  QUIRE_ASSIGN_OR_RETURN(const std::string added_json,
                         ReadFileIfAny(folder / "added_tokens.json", limits.max_file_bytes));
  QUIRE_ASSIGN_OR_RETURN(const TokenizerConfig config,
                         ParseTokenizerConfig(config_json, added_json, limits));
  return SentencePieceTokenizer::FromModel(model, config, limits);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_dir,
                                                         const TokenizerLimits& limits) {
  const std::filesystem::path folder(model_dir);
  const absl::StatusOr<std::string> json =
      ReadSmallFile((folder / "tokenizer.json").string(), limits.max_file_bytes);
  if (json.ok()) return BpeTokenizer::FromJson(*json, limits);
  if (!absl::IsNotFound(json.status())) return json.status();
  const absl::StatusOr<std::string> model =
      ReadSmallFile((folder / "tokenizer.model").string(), limits.max_file_bytes);
  if (model.ok()) return LoadSentencePiece(folder, *model, limits);
  if (!absl::IsNotFound(model.status())) return model.status();
  return absl::NotFoundError(
      absl::StrCat("neither tokenizer.json nor tokenizer.model in ", model_dir));
}

}  // namespace quire
