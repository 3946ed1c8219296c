#include "core/text/added_tokens_spec.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"

namespace quire {
namespace {

constexpr size_t kMaxAddedTokenBytes = 256;

absl::StatusOr<TokenId> IdAt(const Json& json, const TokenizerLimits& limits,
                             std::string_view where) {
  const Json* id = FindMember(json, "id");
  if (id == nullptr) return SpecError(where, "needs an id");
  const std::optional<TokenId> token_id = AsTokenId(*id, limits.max_vocab_size);
  if (!token_id.has_value()) return BadTokenId(where, limits.max_vocab_size);
  return *token_id;
}

// The `tokenizers` library ignores the ids in added_tokens: a token of the vocabulary keeps its
// id and the others are numbered on from the vocabulary's size. A file that says otherwise was
// edited by hand, and which of its two readings the model was trained with cannot be known.
class AddedIdAssigner {
 public:
  explicit AddedIdAssigner(const Vocabulary& vocabulary)
      : next_(static_cast<TokenId>(vocabulary.size())) {
    for (const auto& [token, id] : vocabulary) ids_.emplace(token, id);
  }

  TokenId Assign(std::string_view content) {
    const auto entry = ids_.find(absl::string_view(content.data(), content.size()));
    const TokenId id = entry != ids_.end() ? entry->second : next_;
    next_ = std::max(next_, id + 1);
    return id;
  }

 private:
  absl::flat_hash_map<absl::string_view, TokenId> ids_;
  TokenId next_;
};

}  // namespace

absl::StatusOr<AddedToken> AsAddedToken(const Json& json, std::string_view where) {
  AddedToken token;
  QUIRE_ASSIGN_OR_RETURN(token.content, StringAt(json, "content", where));
  if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
    return SpecError(where, absl::StrCat("content must have 1 to ", kMaxAddedTokenBytes, " bytes"));
  }
  QUIRE_ASSIGN_OR_RETURN(token.special, BoolOr(json, "special", false, where));
  QUIRE_ASSIGN_OR_RETURN(token.normalized, BoolOr(json, "normalized", !token.special, where));
  QUIRE_ASSIGN_OR_RETURN(token.lstrip, BoolOr(json, "lstrip", false, where));
  QUIRE_ASSIGN_OR_RETURN(token.rstrip, BoolOr(json, "rstrip", false, where));
  QUIRE_ASSIGN_OR_RETURN(token.single_word, BoolOr(json, "single_word", false, where));
  return token;
}

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const Json& root,
                                                        const Vocabulary& vocabulary,
                                                        const TokenizerLimits& limits) {
  std::vector<AddedToken> tokens;
  if (FindMember(root, "added_tokens") == nullptr) return tokens;
  QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(root, "added_tokens", "file"));
  AddedIdAssigner assigner(vocabulary);
  absl::flat_hash_set<std::string> seen;
  for (const Json& json : *list) {
    const std::string where = absl::StrCat("added_tokens[", tokens.size(), "]");
    QUIRE_ASSIGN_OR_RETURN(AddedToken token, AsAddedToken(json, where));
    QUIRE_ASSIGN_OR_RETURN(token.id, IdAt(json, limits, where));
    if (!seen.insert(token.content).second) {
      return SpecError(where, absl::StrCat("content ", Quoted(token.content), " is a duplicate"));
    }
    const TokenId expected = assigner.Assign(token.content);
    if (token.id != expected) {
      return SpecError(where, absl::StrCat("id ", token.id, " of ", Quoted(token.content),
                                           " should be ", expected));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

absl::Status RequireUniqueIds(const Vocabulary& vocabulary, const std::vector<AddedToken>& added) {
  absl::flat_hash_map<TokenId, absl::string_view> owners;
  owners.reserve(vocabulary.size() + added.size());
  const auto claim = [&](const std::string& token, TokenId id) {
    const auto [owner, is_new] = owners.emplace(id, token);
    if (is_new || owner->second == token) return absl::OkStatus();
    return SpecError("model.vocab",
                     absl::StrCat("tokens ", Quoted(token), " and ",
                                  Quoted(std::string(owner->second)), " share the id ", id));
  };
  for (const auto& [token, id] : vocabulary) QUIRE_RETURN_IF_ERROR(claim(token, id));
  for (const AddedToken& token : added) QUIRE_RETURN_IF_ERROR(claim(token.content, token.id));
  return absl::OkStatus();
}

}  // namespace quire
