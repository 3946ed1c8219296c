#include "core/model/gguf_vocabulary.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"

namespace quire {
namespace {

using Type = GgufVocabulary::Type;

constexpr char kTypesKey[] = "tokenizer.ggml.token_type";
constexpr char kBosKey[] = "tokenizer.ggml.bos_token_id";
constexpr char kEosKey[] = "tokenizer.ggml.eos_token_id";

absl::StatusOr<std::vector<Type>> ReadTypes(const GgufFields& fields, size_t count) {
  if (!fields.Has(kTypesKey)) return std::vector<Type>(count, Type::kNormal);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers,
                         fields.Ints(kTypesKey, count, static_cast<int64_t>(Type::kNormal),
                                     static_cast<int64_t>(Type::kByte)));
  std::vector<Type> types;
  types.reserve(count);
  for (const int64_t number : numbers) types.push_back(static_cast<Type>(number));
  return types;
}

absl::StatusOr<TokenId> ReadTokenId(const GgufFields& fields, const char* key, size_t count) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t id,
                         fields.IntOr(key, -1, 0, static_cast<int64_t>(count) - 1));
  return static_cast<TokenId>(id);
}

absl::Status CheckTokens(const GgufFields& fields, const std::vector<std::string_view>& tokens) {
  if (tokens.empty()) {
    return fields.Error(kGgufTokensKey, absl::StrCat("1 to ", kMaxVocab, " tokens"));
  }
  absl::flat_hash_set<absl::string_view> seen;
  seen.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (seen.insert(absl::string_view(tokens[id].data(), tokens[id].size())).second) continue;
    return fields.Error(kGgufTokensKey,
                        absl::StrCat("without duplicates, but token ", id, " is one"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufVocabulary> ReadGgufTokens(const GgufFields& fields) {
  GgufVocabulary out;
  QUIRE_ASSIGN_OR_RETURN(out.tokens, fields.Strings(kGgufTokensKey, size_t{kMaxVocab}));
  const size_t count = out.tokens.size();
  QUIRE_ASSIGN_OR_RETURN(out.bos, ReadTokenId(fields, kBosKey, count));
  QUIRE_ASSIGN_OR_RETURN(out.eos, ReadTokenId(fields, kEosKey, count));
  return out;
}

absl::StatusOr<GgufVocabulary> ReadGgufVocabulary(const GgufFields& fields, bool add_bos) {
  QUIRE_ASSIGN_OR_RETURN(GgufVocabulary out, ReadGgufTokens(fields));
  QUIRE_RETURN_IF_ERROR(CheckTokens(fields, out.tokens));
  QUIRE_ASSIGN_OR_RETURN(out.types, ReadTypes(fields, out.tokens.size()));
  QUIRE_ASSIGN_OR_RETURN(out.add_bos, fields.BoolOr("tokenizer.ggml.add_bos_token", add_bos));
  QUIRE_ASSIGN_OR_RETURN(out.add_eos, fields.BoolOr("tokenizer.ggml.add_eos_token", false));
  if (out.add_bos && out.bos < 0) {
    return fields.Error(kBosKey, "given, since it is to be added");
  }
  if (out.add_eos && out.eos < 0) {
    return fields.Error(kEosKey, "given, since it is to be added");
  }
  return out;
}

}  // namespace quire
