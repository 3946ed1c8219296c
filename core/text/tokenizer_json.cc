#include "core/text/tokenizer_json.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"

namespace quire {
namespace {

constexpr int kMaxJsonDepth = 64;
constexpr size_t kMaxStages = 64;
constexpr size_t kMaxPatternBytes = 16 << 10;
constexpr size_t kMaxShortStringBytes = 256;

// Counted before parsing, so that nothing that recurses over the document can exhaust the stack.
int NestingDepth(std::string_view json_text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < json_text.size(); ++i) {
    const char c = json_text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '[' || c == '{')) {
      deepest = std::max(deepest, ++depth);
    } else if (!in_string && (c == ']' || c == '}')) {
      --depth;
    }
  }
  return deepest;
}

// Depth is bounded by the document's.
absl::Status AppendStages(const Json& json, const char* list_key, const std::string& top,
                          std::vector<JsonStage>& stages) {
  const std::string where = stages.empty() ? top : absl::StrCat(top, " stage ", stages.size());
  QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(json, "type", where));
  if (type == "Sequence") {
    QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(json, list_key, where));
    for (const Json& stage : *list) {
      QUIRE_RETURN_IF_ERROR(AppendStages(stage, list_key, top, stages));
    }
    return absl::OkStatus();
  }
  if (stages.size() == kMaxStages) {
    return SpecError(top, absl::StrCat("has more than ", kMaxStages, " stages"));
  }
  stages.push_back({&json, type, absl::StrCat(top, " stage ", stages.size())});
  return absl::OkStatus();
}

}  // namespace

absl::Status SpecError(std::string_view where, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(where), ": ", std::string(problem)));
}

absl::Status SpecUnsupported(std::string_view where, std::string_view what,
                             std::string_view supported) {
  std::string problem = absl::StrCat(std::string(what), " is not supported");
  if (!supported.empty()) absl::StrAppend(&problem, "; supported: ", std::string(supported));
  return SpecError(where, problem);
}

absl::StatusOr<Json> ParseJsonObject(std::string_view text) {
  if (NestingDepth(text) > kMaxJsonDepth) {
    return SpecError("file", absl::StrCat("nested deeper than ", kMaxJsonDepth, " levels"));
  }
  Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return SpecError("file", "not a JSON object");
  return root;
}

const Json* FindMember(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto member = object.find(key);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

absl::StatusOr<bool> BoolOr(const Json& object, const char* key, bool fallback,
                            std::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  return SpecError(where, absl::StrCat(key, " must be true or false"));
}

absl::StatusOr<std::string> StringAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = FindMember(object, key);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  return SpecError(where, absl::StrCat("needs a string ", key));
}

absl::StatusOr<std::string> ShortStringAt(const Json& object, const char* key,
                                          std::string_view where) {
  QUIRE_ASSIGN_OR_RETURN(std::string text, StringAt(object, key, where));
  if (text.size() <= kMaxShortStringBytes) return text;
  return SpecError(where, absl::StrCat(key, " must have at most ", kMaxShortStringBytes, " bytes"));
}

absl::StatusOr<JsonPattern> PatternAt(const Json& object, std::string_view where) {
  QUIRE_ASSIGN_OR_RETURN(const Json* pattern, ObjectAt(object, "pattern", where));
  const bool is_regex = pattern->contains("Regex");
  if (!is_regex && !pattern->contains("String")) {
    return SpecError(where, "pattern needs a member Regex or String");
  }
  QUIRE_ASSIGN_OR_RETURN(std::string text,
                         StringAt(*pattern, is_regex ? "Regex" : "String", where));
  if (text.empty() || text.size() > kMaxPatternBytes) {
    return SpecError(where, absl::StrCat("pattern must have 1 to ", kMaxPatternBytes, " bytes"));
  }
  return JsonPattern{is_regex, std::move(text)};
}

absl::StatusOr<uint32_t> CountAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = FindMember(object, key);
  const bool fits = value != nullptr && value->is_number_unsigned() &&
                    value->get<uint64_t>() <= std::numeric_limits<uint32_t>::max();
  if (fits) return value->get<uint32_t>();
  return SpecError(where, absl::StrCat("needs a count ", key));
}

absl::StatusOr<const Json*> ArrayAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = FindMember(object, key);
  if (value != nullptr && value->is_array()) return value;
  return SpecError(where, absl::StrCat("needs an array ", key));
}

absl::StatusOr<const Json*> ObjectAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = FindMember(object, key);
  if (value != nullptr && value->is_object()) return value;
  return SpecError(where, absl::StrCat("needs an object ", key));
}

std::optional<TokenId> AsTokenId(const Json& value, int32_t limit) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto id = value.get<uint64_t>();
  if (id >= static_cast<uint64_t>(std::max(limit, 0))) return std::nullopt;
  return static_cast<TokenId>(id);
}

absl::Status BadTokenId(std::string_view where, int32_t limit) {
  return SpecError(where, absl::StrCat("a token id must be an integer from 0 to ", limit - 1));
}

absl::Status RequireNeutral(const Json& object, const char* key, std::string_view where) {
  const Json* value = FindMember(object, key);
  if (value == nullptr || *value == false || *value == 0) return absl::OkStatus();
  if (value->is_string() && value->get_ref<const std::string&>().empty()) return absl::OkStatus();
  return SpecUnsupported(where, absl::StrCat(key, " = ", Quoted(value->dump())));
}

absl::StatusOr<std::vector<JsonStage>> StagesOf(const Json& root, const char* key,
                                                const char* list_key) {
  std::vector<JsonStage> stages;
  if (FindMember(root, key) == nullptr) return stages;
  QUIRE_ASSIGN_OR_RETURN(const Json* top, ObjectAt(root, key, "file"));
  QUIRE_RETURN_IF_ERROR(AppendStages(*top, list_key, key, stages));
  return stages;
}

}  // namespace quire
