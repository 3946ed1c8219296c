#include "core/text/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/bpe_tokenizer.h"

namespace quire {
namespace {

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat("no file ", path.string()));
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return absl::PermissionDeniedError(absl::StrCat("cannot open ", path.string()));
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), " is larger than the limit of ", max_bytes, " bytes"));
  }
  std::string content(size, '\0');
  stream.read(content.data(), static_cast<std::streamsize>(size));
  content.resize(static_cast<size_t>(stream.gcount()));
  return content;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_dir,
                                                         const TokenizerLimits& limits) {
  const std::filesystem::path path = std::filesystem::path(model_dir) / "tokenizer.json";
  QUIRE_ASSIGN_OR_RETURN(const std::string json_text, ReadFile(path, limits.max_file_bytes));
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                         BpeTokenizer::FromJson(json_text, limits));
  return tokenizer;
}

}  // namespace quire
