#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/gguf_vocabulary.h"

namespace quire {
namespace {

using nlohmann::json;
using Type = GgufVocabulary::Type;

constexpr char kMergesKey[] = "tokenizer.ggml.merges";
constexpr char kPreKey[] = "tokenizer.ggml.pre";

// How a text is cut before its pieces are merged, by the name that converters give it. The
// expressions are those of the models' own tokenizers.
struct Splitting {
  const char* name;
  const char* pattern;     // empty: GPT-2's own
  bool individual_digits;  // cut out before GPT-2's expression
  bool nfc;
  bool ignore_merges;
  bool add_bos;  // where the file does not say
};

constexpr char kLlama3Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr Splitting kSplittings[] = {
    {"deepseek-r1-qwen", kQwen2Pattern, false, true, false, false},
    {"gpt-2", "", false, false, false, false},
    {"llama-bpe", kLlama3Pattern, false, false, true, true},
    {"qwen2", kQwen2Pattern, false, true, false, false},
    {"smollm", "", true, false, false, false},
};

absl::StatusOr<const Splitting*> FindSplitting(const GgufFields& fields) {
  QUIRE_ASSIGN_OR_RETURN(const std::string_view name, fields.StringOr(kPreKey, "none"));
  std::string supported;
  for (const Splitting& splitting : kSplittings) {
    if (name == splitting.name) return &splitting;
    absl::StrAppend(&supported, supported.empty() ? "" : ", ", splitting.name);
  }
  return fields.Error(kPreKey, absl::StrCat("one of those supported, ", supported,
                                            "; a tokenizer.json beside the file will do as well"));
}

json PreTokenizer(const Splitting& splitting) {
  const bool own = *splitting.pattern != '\0';
  json stages = json::array();
  if (splitting.individual_digits) {
    stages.push_back({{"type", "Digits"}, {"individual_digits", true}});
  }
  if (own) {
    stages.push_back({{"type", "Split"},
                      {"pattern", {{"Regex", splitting.pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}});
  }
  stages.push_back({{"type", "ByteLevel"},
                    {"add_prefix_space", false},
                    {"trim_offsets", true},
                    {"use_regex", !own}});
  return {{"type", "Sequence"}, {"pretokenizers", stages}};
}

// Puts the ids to be added around a text; null where there are none.
json PostProcessor(const GgufVocabulary& vocabulary) {
  json single = json::array();
  json special = json::object();
  const auto add = [&](TokenId id) {
    const std::string token(vocabulary.tokens[static_cast<size_t>(id)]);
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
    special[token] = {{"id", token}, {"ids", json::array({id})}, {"tokens", json::array({token})}};
  };
  if (vocabulary.add_bos) add(vocabulary.bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (vocabulary.add_eos) add(vocabulary.eos);
  if (special.empty()) return nullptr;
  return {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", special}};
}

bool IsMergeable(Type type) { return type == Type::kNormal || type == Type::kByte; }

// Tokens that are cut out of a text as they are, and fillers between those, which no text may
// spell. Behind the last mergeable token, ids are numbered on from the vocabulary, so none may be
// left out there but the last.
json AddedTokens(const GgufVocabulary& vocabulary, size_t mergeable) {
  json added = json::array();
  json pending = json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Type type = vocabulary.types[id];
    const bool filler = type == Type::kUnused;
    if (IsMergeable(type) || (filler && id < mergeable)) continue;
    json token = {{"id", id},
                  {"content", std::string(vocabulary.tokens[id])},
                  {"single_word", false},
                  {"lstrip", false},
                  {"rstrip", false},
                  {"normalized", false},
                  {"special", type != Type::kUserDefined}};
    pending.push_back(std::move(token));
    if (filler) continue;
    for (json& ready : pending) added.push_back(std::move(ready));
    pending = json::array();
  }
  return added;
}

absl::StatusOr<json> Merges(const GgufFields& fields) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<std::string_view> lines,
                         fields.Strings(kMergesKey, size_t{kMaxVocab}));
  json merges = json::array();
  for (const std::string_view line : lines) {
    // A token never has a space in it here, but may begin with one in files of some converters.
    const size_t space = line.empty() ? std::string_view::npos : line.find(' ', 1);
    if (space == std::string_view::npos) {
      return fields.Error(kMergesKey, absl::StrCat("pairs with a space between, but number ",
                                                   merges.size(), " is none"));
    }
    merges.push_back(json::array({line.substr(0, space), line.substr(space + 1)}));
  }
  return merges;
}

}  // namespace

absl::StatusOr<bool> GgufByteLevelAddsBos(const GgufFields& fields) {
  QUIRE_ASSIGN_OR_RETURN(const Splitting* splitting, FindSplitting(fields));
  return splitting->add_bos;
}

absl::StatusOr<std::string> GgufByteLevelJson(const GgufFields& fields,
                                              const GgufVocabulary& vocabulary) {
  QUIRE_ASSIGN_OR_RETURN(const Splitting* splitting, FindSplitting(fields));
  QUIRE_ASSIGN_OR_RETURN(json merges, Merges(fields));
  size_t mergeable = vocabulary.tokens.size();
  while (mergeable > 0 && !IsMergeable(vocabulary.types[mergeable - 1])) --mergeable;
  json tokens = json::object();
  for (size_t id = 0; id < mergeable; ++id) tokens[std::string(vocabulary.tokens[id])] = id;
  const json root = {{"version", "1.0"},
                     {"added_tokens", AddedTokens(vocabulary, mergeable)},
                     {"normalizer", splitting->nfc ? json({{"type", "NFC"}}) : json(nullptr)},
                     {"pre_tokenizer", PreTokenizer(*splitting)},
                     {"post_processor", PostProcessor(vocabulary)},
                     {"decoder", {{"type", "ByteLevel"}}},
                     {"model",
                      {{"type", "BPE"},
                       {"ignore_merges", splitting->ignore_merges},
                       {"vocab", std::move(tokens)},
                       {"merges", std::move(merges)}}}};
  try {
    return root.dump();
  } catch (const json::exception&) {
    return fields.Error(kGgufTokensKey, "well-formed UTF-8");
  }
}

}  // namespace quire
