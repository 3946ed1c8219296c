#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/ids.h"

namespace quire {

// Typed access to the members of a tokenizer's JSON files. `where` names the component in messages.
// For .cc files alone.
using Json = nlohmann::json;

absl::Status SpecError(std::string_view where, std::string_view problem);
// `supported` lists what would do instead; empty where there is nothing to list.
absl::Status SpecUnsupported(std::string_view where, std::string_view what,
                             std::string_view supported = "");

// Parses text nested at most 64 deep whose root is an object, without exceptions.
absl::StatusOr<Json> ParseJsonObject(std::string_view text);

// Null where `object` is no object, or the member is absent or null.
const Json* FindMember(const Json& object, const char* key);

absl::StatusOr<bool> BoolOr(const Json& object, const char* key, bool fallback,
                            std::string_view where);
absl::StatusOr<std::string> StringAt(const Json& object, const char* key, std::string_view where);
absl::StatusOr<uint32_t> CountAt(const Json& object, const char* key, std::string_view where);
absl::StatusOr<const Json*> ArrayAt(const Json& object, const char* key, std::string_view where);
absl::StatusOr<const Json*> ObjectAt(const Json& object, const char* key, std::string_view where);

// The member `pattern`, {"String": text} or {"Regex": text}; the text has 1 to 16 Ki bytes.
struct JsonPattern {
  bool is_regex;
  std::string text;
};
absl::StatusOr<JsonPattern> PatternAt(const Json& object, std::string_view where);

// A text of at most 256 bytes that is put into, or looked for in, others.
absl::StatusOr<std::string> ShortStringAt(const Json& object, const char* key,
                                          std::string_view where);

// An id from 0 to limit - 1.
std::optional<TokenId> AsTokenId(const Json& value, int32_t limit);
absl::Status BadTokenId(std::string_view where, int32_t limit);

// A member that is supported only in its neutral form: absent, null, false, 0 or "".
absl::Status RequireNeutral(const Json& object, const char* key, std::string_view where);

// One component of a pipeline: a normalizer, pre-tokenizer, decoder or post-processor.
struct JsonStage {
  const Json* json;
  std::string type;
  std::string where;  // e.g. "pre_tokenizer stage 1"
};

// The stages of root[key] in order, with every Sequence (whose stages are in `list_key`) replaced
// by what it holds. Empty where the member is absent or null. At most 64 stages.
absl::StatusOr<std::vector<JsonStage>> StagesOf(const Json& root, const char* key,
                                                const char* list_key);

}  // namespace quire
