#include "core/text/tokenizer_spec.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"

namespace quire {
namespace {

using Json = nlohmann::json;

constexpr int kMaxJsonDepth = 64;
constexpr size_t kMaxAddedTokenBytes = 256;

absl::Status Error(std::string_view where, std::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.json: ", std::string(where), ": ", std::string(problem)));
}

absl::Status Unsupported(std::string_view where, std::string_view what) {
  return Error(where, absl::StrCat(std::string(what), " is not supported"));
}

// Null where the member is absent or null.
const Json* Find(const Json& object, const char* key) {
  const auto member = object.find(key);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

absl::StatusOr<bool> BoolOr(const Json& object, const char* key, bool fallback,
                            std::string_view where) {
  const Json* value = Find(object, key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  return Error(where, absl::StrCat(key, " must be true or false"));
}

absl::StatusOr<std::string> StringAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = object.is_object() ? Find(object, key) : nullptr;
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  return Error(where, absl::StrCat("needs a string ", key));
}

absl::StatusOr<const Json*> ArrayAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = Find(object, key);
  if (value != nullptr && value->is_array()) return value;
  return Error(where, absl::StrCat("needs an array ", key));
}

absl::StatusOr<const Json*> ObjectAt(const Json& object, const char* key, std::string_view where) {
  const Json* value = Find(object, key);
  if (value != nullptr && value->is_object()) return value;
  return Error(where, absl::StrCat("needs an object ", key));
}

std::optional<TokenId> AsTokenId(const Json& value, int32_t limit) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto id = value.get<uint64_t>();
  if (id >= static_cast<uint64_t>(std::max(limit, 0))) return std::nullopt;
  return static_cast<TokenId>(id);
}

absl::Status BadTokenId(std::string_view where, int32_t limit) {
  return Error(where, absl::StrCat("a token id must be an integer from 0 to ", limit - 1));
}

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

// A member that Quire implements only in its neutral form: absent, null, false, 0 or "".
absl::Status RequireNeutral(const Json& object, const char* key, std::string_view where) {
  const Json* value = Find(object, key);
  if (value == nullptr || *value == false || *value == 0) return absl::OkStatus();
  if (value->is_string() && value->get_ref<const std::string&>().empty()) return absl::OkStatus();
  return Unsupported(where, absl::StrCat(key, " = ", Quoted(value->dump())));
}

absl::Status ReadVocabulary(const Json& model, const TokenizerLimits& limits, TokenizerSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const Json* vocabulary, ObjectAt(model, "vocab", "model"));
  spec.vocabulary.reserve(vocabulary->size());
  for (const auto& [token, id] : vocabulary->items()) {
    const std::optional<TokenId> token_id = AsTokenId(id, limits.max_vocab_size);
    if (!token_id.has_value()) {
      return BadTokenId(absl::StrCat("model.vocab[", Quoted(token), "]"), limits.max_vocab_size);
    }
    spec.vocabulary.emplace_back(token, *token_id);
  }
  return absl::OkStatus();
}

std::optional<std::pair<std::string, std::string>> AsMerge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const std::string& line = merge.get_ref<const std::string&>();
  const size_t space = line.find(' ');
  if (space == std::string::npos || space != line.rfind(' ')) return std::nullopt;
  return std::pair(line.substr(0, space), line.substr(space + 1));
}

absl::Status ReadMerges(const Json& model, TokenizerSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const Json* merges, ArrayAt(model, "merges", "model"));
  spec.merges.reserve(merges->size());
  for (const Json& merge : *merges) {
    const bool is_header =
        merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version");
    if (is_header) continue;
    auto pair = AsMerge(merge);
    if (!pair.has_value()) {
      return Error(absl::StrCat("model.merges[", spec.merges.size(), "]"),
                   "must be \"left right\" or [\"left\", \"right\"]");
    }
    spec.merges.push_back(*std::move(pair));
  }
  return absl::OkStatus();
}

// unk_token and fuse_unk need no check: with a token for every byte nothing is unknown.
absl::Status ReadModel(const Json& root, const TokenizerLimits& limits, TokenizerSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const Json* model, ObjectAt(root, "model", "file"));
  if (model->contains("type")) {
    QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(*model, "type", "model"));
    if (type != "BPE") return Unsupported("model", absl::StrCat("type ", Quoted(type)));
  }
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    QUIRE_RETURN_IF_ERROR(RequireNeutral(*model, key, "model"));
  }
  QUIRE_ASSIGN_OR_RETURN(spec.ignore_merges, BoolOr(*model, "ignore_merges", false, "model"));
  QUIRE_RETURN_IF_ERROR(ReadVocabulary(*model, limits, spec));
  return ReadMerges(*model, spec);
}

absl::StatusOr<AddedToken> AsAddedToken(const Json& json, const TokenizerLimits& limits,
                                        std::string_view where) {
  AddedToken token;
  QUIRE_ASSIGN_OR_RETURN(token.content, StringAt(json, "content", where));
  if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
    return Error(where, absl::StrCat("content must have 1 to ", kMaxAddedTokenBytes, " bytes"));
  }
  const Json* id = Find(json, "id");
  if (id == nullptr) return Error(where, "needs an id");
  const std::optional<TokenId> token_id = AsTokenId(*id, limits.max_vocab_size);
  if (!token_id.has_value()) return BadTokenId(where, limits.max_vocab_size);
  token.id = *token_id;
  QUIRE_ASSIGN_OR_RETURN(token.special, BoolOr(json, "special", false, where));
  QUIRE_ASSIGN_OR_RETURN(token.normalized, BoolOr(json, "normalized", !token.special, where));
  QUIRE_ASSIGN_OR_RETURN(token.lstrip, BoolOr(json, "lstrip", false, where));
  QUIRE_ASSIGN_OR_RETURN(token.rstrip, BoolOr(json, "rstrip", false, where));
  QUIRE_ASSIGN_OR_RETURN(const bool single_word, BoolOr(json, "single_word", false, where));
  if (single_word) return Unsupported(where, "single_word");
  return token;
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

absl::Status ReadAddedTokens(const Json& root, const TokenizerLimits& limits, TokenizerSpec& spec) {
  if (Find(root, "added_tokens") == nullptr) return absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(root, "added_tokens", "file"));
  AddedIdAssigner assigner(spec.vocabulary);
  absl::flat_hash_set<std::string> seen;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string where = absl::StrCat("added_tokens[", i, "]");
    QUIRE_ASSIGN_OR_RETURN(AddedToken token, AsAddedToken((*list)[i], limits, where));
    if (!seen.insert(token.content).second) {
      return Error(where, absl::StrCat("content ", Quoted(token.content), " is a duplicate"));
    }
    const TokenId expected = assigner.Assign(token.content);
    if (token.id != expected) {
      return Error(where, absl::StrCat("id ", token.id, " of ", Quoted(token.content),
                                       " should be ", expected));
    }
    spec.added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status RequireUniqueIds(const TokenizerSpec& spec) {
  absl::flat_hash_map<TokenId, absl::string_view> owners;
  owners.reserve(spec.vocabulary.size() + spec.added_tokens.size());
  const auto claim = [&](const std::string& token, TokenId id) {
    const auto [owner, is_new] = owners.emplace(id, token);
    if (is_new || owner->second == token) return absl::OkStatus();
    return Error("model.vocab",
                 absl::StrCat("tokens ", Quoted(token), " and ", Quoted(std::string(owner->second)),
                              " share the id ", id));
  };
  for (const auto& [token, id] : spec.vocabulary) QUIRE_RETURN_IF_ERROR(claim(token, id));
  for (const auto& token : spec.added_tokens) {
    QUIRE_RETURN_IF_ERROR(claim(token.content, token.id));
  }
  return absl::OkStatus();
}

absl::StatusOr<PreTokenizerStage> AsSplit(const Json& json, std::string_view where) {
  QUIRE_ASSIGN_OR_RETURN(const std::string behavior, StringAt(json, "behavior", where));
  if (behavior != "Isolated") {
    return Unsupported(where, absl::StrCat("Split behavior ", Quoted(behavior)));
  }
  QUIRE_RETURN_IF_ERROR(RequireNeutral(json, "invert", where));
  QUIRE_ASSIGN_OR_RETURN(const Json* pattern, ObjectAt(json, "pattern", where));
  if (!pattern->contains("Regex")) return Unsupported(where, "a Split pattern without Regex");
  QUIRE_ASSIGN_OR_RETURN(std::string regex, StringAt(*pattern, "Regex", where));
  if (regex.empty()) return Unsupported(where, "an empty Regex");
  return PreTokenizerStage{.add_prefix_space = false, .pattern = std::move(regex)};
}

absl::StatusOr<PreTokenizerStage> AsByteLevel(const Json& json, std::string_view where) {
  QUIRE_ASSIGN_OR_RETURN(const bool prefix, BoolOr(json, "add_prefix_space", true, where));
  QUIRE_ASSIGN_OR_RETURN(const bool use_regex, BoolOr(json, "use_regex", true, where));
  return PreTokenizerStage{.add_prefix_space = prefix, .pattern = use_regex ? kGpt2Pattern : ""};
}

absl::StatusOr<PreTokenizerStage> AsDigits(const Json& json, std::string_view where) {
  QUIRE_ASSIGN_OR_RETURN(const bool individual, BoolOr(json, "individual_digits", false, where));
  return PreTokenizerStage{.add_prefix_space = false, .pattern = individual ? "\\p{N}" : "\\p{N}+"};
}

// Text is spelled in the byte alphabet from ByteLevel on, so it must come, once, as the last stage.
absl::Status ReadPreTokenizer(const Json& root, TokenizerSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const Json* top, ObjectAt(root, "pre_tokenizer", "file"));
  QUIRE_ASSIGN_OR_RETURN(const std::string top_type, StringAt(*top, "type", "pre_tokenizer"));
  std::vector<const Json*> stages = {top};
  if (top_type == "Sequence") {
    QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(*top, "pretokenizers", "pre_tokenizer"));
    stages.clear();
    for (const Json& stage : *list) stages.push_back(&stage);
  }
  bool is_last_byte_level = false;
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string where = absl::StrCat("pre_tokenizer stage ", i);
    QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(*stages[i], "type", where));
    if (is_last_byte_level) return Unsupported(where, "a stage after ByteLevel");
    is_last_byte_level = type == "ByteLevel";
    absl::StatusOr<PreTokenizerStage> stage =
        type == "ByteLevel" ? AsByteLevel(*stages[i], where)
        : type == "Split"   ? AsSplit(*stages[i], where)
        : type == "Digits"  ? AsDigits(*stages[i], where)
                            : Unsupported(where, absl::StrCat("type ", Quoted(type)));
    QUIRE_RETURN_IF_ERROR(stage.status());
    spec.pre_tokenizer.push_back(*std::move(stage));
  }
  return is_last_byte_level ? absl::OkStatus()
                            : Unsupported("pre_tokenizer", "one without ByteLevel at the end");
}

absl::Status AppendSpecialToken(const Json& processor, const Json& piece,
                                const TokenizerLimits& limits, std::vector<TokenId>& ids) {
  constexpr char kWhere[] = "post_processor";
  QUIRE_ASSIGN_OR_RETURN(const std::string name, StringAt(piece, "id", kWhere));
  QUIRE_ASSIGN_OR_RETURN(const Json* table, ObjectAt(processor, "special_tokens", kWhere));
  QUIRE_ASSIGN_OR_RETURN(const Json* entry, ObjectAt(*table, name.c_str(), kWhere));
  QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(*entry, "ids", kWhere));
  for (const Json& id : *list) {
    const std::optional<TokenId> token = AsTokenId(id, limits.max_vocab_size);
    if (!token.has_value()) return BadTokenId(kWhere, limits.max_vocab_size);
    ids.push_back(*token);
  }
  return absl::OkStatus();
}

// {"Sequence": {"id": "A", ...}}, where the template puts the text.
bool IsFirstText(const Json& piece) {
  const Json* sequence = piece.is_object() ? Find(piece, "Sequence") : nullptr;
  const Json* id = sequence != nullptr && sequence->is_object() ? Find(*sequence, "id") : nullptr;
  return id != nullptr && *id == "A";
}

absl::Status ReadTemplate(const Json& processor, const TokenizerLimits& limits,
                          TokenizerSpec& spec) {
  constexpr char kWhere[] = "post_processor";
  QUIRE_ASSIGN_OR_RETURN(const Json* single, ArrayAt(processor, "single", kWhere));
  std::vector<TokenId> before;
  std::vector<TokenId> after;
  bool seen_text = false;
  for (const Json& piece : *single) {
    if (piece.is_object() && piece.contains("SpecialToken")) {
      QUIRE_RETURN_IF_ERROR(
          AppendSpecialToken(processor, piece["SpecialToken"], limits, seen_text ? after : before));
      continue;
    }
    if (!IsFirstText(piece) || seen_text)
      return Unsupported(kWhere, "a template that is not one text");
    seen_text = true;
  }
  if (!seen_text) return Unsupported(kWhere, "a template without the text");
  spec.prefix.insert(spec.prefix.begin(), before.begin(), before.end());
  spec.suffix.insert(spec.suffix.end(), after.begin(), after.end());
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const Json& root, const TokenizerLimits& limits,
                               TokenizerSpec& spec) {
  const Json* top = Find(root, "post_processor");
  if (top == nullptr) return absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(const std::string top_type, StringAt(*top, "type", "post_processor"));
  std::vector<const Json*> processors = {top};
  if (top_type == "Sequence") {
    QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(*top, "processors", "post_processor"));
    processors.clear();
    for (const Json& processor : *list) processors.push_back(&processor);
  }
  for (const Json* processor : processors) {
    QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(*processor, "type", "post_processor"));
    if (type == "ByteLevel") continue;  // changes offsets alone
    if (type != "TemplateProcessing") {
      return Unsupported("post_processor", absl::StrCat("type ", Quoted(type)));
    }
    QUIRE_RETURN_IF_ERROR(ReadTemplate(*processor, limits, spec));
  }
  return absl::OkStatus();
}

absl::Status RequireByteLevelDecoder(const Json& root) {
  QUIRE_ASSIGN_OR_RETURN(const Json* decoder, ObjectAt(root, "decoder", "file"));
  QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(*decoder, "type", "decoder"));
  return type == "ByteLevel" ? absl::OkStatus()
                             : Unsupported("decoder", absl::StrCat("type ", Quoted(type)));
}

absl::Status RequireVersion(const Json& root) {
  const Json* version = Find(root, "version");
  if (version == nullptr || *version == "1.0") return absl::OkStatus();
  return Unsupported("version", Quoted(version->dump()));
}

absl::Status RequireNoNormalizer(const Json& root) {
  const Json* normalizer = Find(root, "normalizer");
  if (normalizer == nullptr) return absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(*normalizer, "type", "normalizer"));
  return Unsupported("normalizer", absl::StrCat("type ", Quoted(type)));
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerSpec(std::string_view json_text,
                                                 const TokenizerLimits& limits) {
  if (NestingDepth(json_text) > kMaxJsonDepth) {
    return Error("file", absl::StrCat("nested deeper than ", kMaxJsonDepth, " levels"));
  }
  const Json root = Json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return Error("file", "not a JSON object");
  TokenizerSpec spec;
  QUIRE_RETURN_IF_ERROR(RequireVersion(root));
  QUIRE_RETURN_IF_ERROR(RequireNoNormalizer(root));
  QUIRE_RETURN_IF_ERROR(RequireByteLevelDecoder(root));
  QUIRE_RETURN_IF_ERROR(ReadPreTokenizer(root, spec));
  QUIRE_RETURN_IF_ERROR(ReadModel(root, limits, spec));
  QUIRE_RETURN_IF_ERROR(ReadAddedTokens(root, limits, spec));
  QUIRE_RETURN_IF_ERROR(RequireUniqueIds(spec));
  QUIRE_RETURN_IF_ERROR(ReadPostProcessor(root, limits, spec));
  return spec;
}

}  // namespace quire
