#include "core/text/chat_metadata.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 4;  // deeper members are skipped while parsing

absl::Status Malformed(std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer_config.json: ", std::string(problem)));
}

std::string StringAt(const Json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_string() ? member->get<std::string>() : "";
}

// Files name a token by its text or by an object with the text as `content`.
std::string TokenAt(const Json& config, const char* key) {
  const auto member = config.find(key);
  if (member != config.end() && member->is_object()) return StringAt(*member, "content");
  return StringAt(config, key);
}

std::string TemplateOf(const Json& config) {
  const auto member = config.find("chat_template");
  if (member == config.end() || !member->is_array()) return StringAt(config, "chat_template");
  for (const Json& named : *member) {
    if (named.is_object() && StringAt(named, "name") == "default") {
      return StringAt(named, "template");
    }
  }
  return "";
}

// Empty where there is no such file.
absl::StatusOr<std::string> ReadIfThere(const std::filesystem::path& path, size_t max_bytes) {
  absl::StatusOr<std::string> content = ReadSmallFile(path.string(), max_bytes);
  return absl::IsNotFound(content.status()) ? std::string() : content;
}

}  // namespace

absl::StatusOr<ChatMetadata> ParseChatMetadata(std::string_view tokenizer_config) {
  const auto keep = [](int depth, Json::parse_event_t, Json&) { return depth <= kMaxDepth; };
  const Json config = Json::parse(tokenizer_config, keep, /*allow_exceptions=*/false);
  if (config.is_discarded()) return Malformed("is not JSON");
  if (!config.is_object()) return Malformed("must be an object");
  return ChatMetadata{TemplateOf(config), TokenAt(config, "bos_token"),
                      TokenAt(config, "eos_token")};
}

absl::StatusOr<ChatMetadata> ReadChatMetadata(const std::string& model_dir,
                                              const ChatMetadataLimits& limits) {
  const std::filesystem::path dir(model_dir);
  QUIRE_ASSIGN_OR_RETURN(const std::string config,
                         ReadIfThere(dir / "tokenizer_config.json", limits.max_file_bytes));
  QUIRE_ASSIGN_OR_RETURN(std::string source,
                         ReadIfThere(dir / "chat_template.jinja", limits.max_file_bytes));
  ChatMetadata metadata;
  if (!config.empty()) {
    QUIRE_ASSIGN_OR_RETURN(metadata, ParseChatMetadata(config));
  }
  if (!source.empty()) metadata.chat_template = std::move(source);
  if (IsValidUtf8(metadata.chat_template)) return metadata;
  return absl::InvalidArgumentError("chat_template.jinja is not well-formed UTF-8");
}

}  // namespace quire
