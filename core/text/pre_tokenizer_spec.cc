#include "core/text/pre_tokenizer_spec.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/character_sets.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Syntax = SplitStage::Syntax;

constexpr char kSupported[] =
    "Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, "
    "CharDelimiterSplit";
constexpr char kBehaviors[] = "Isolated, Removed, Contiguous, MergedWithPrevious, MergedWithNext";

absl::StatusOr<SplitBehavior> BehaviorAt(const Json& json, const std::string& where) {
  constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"Contiguous", SplitBehavior::kContiguous},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext}};
  QUIRE_ASSIGN_OR_RETURN(const std::string behavior, StringAt(json, "behavior", where));
  for (const auto& [name, value] : kNames) {
    if (name == behavior) return value;
  }
  return SpecUnsupported(where, absl::StrCat("behavior ", Quoted(behavior)), kBehaviors);
}

using StageOr = absl::StatusOr<PreTokenizerStage>;

StageOr AsSplit(const Json& json, const std::string& where) {
  SplitStage stage;
  QUIRE_ASSIGN_OR_RETURN(stage.behavior, BehaviorAt(json, where));
  QUIRE_ASSIGN_OR_RETURN(stage.invert, BoolOr(json, "invert", false, where));
  QUIRE_ASSIGN_OR_RETURN(JsonPattern pattern, PatternAt(json, where));
  stage.syntax = pattern.is_regex ? Syntax::kOniguruma : Syntax::kLiteral;
  stage.pattern = std::move(pattern.text);
  return stage;
}

StageOr AsDigits(const Json& json, const std::string& where) {
  QUIRE_ASSIGN_OR_RETURN(const bool individual, BoolOr(json, "individual_digits", false, where));
  const std::string pattern = absl::StrCat("[", CategoryMembers("N"), "]");
  return SplitStage{Syntax::kPcre2, pattern,
                    individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, false};
}

StageOr AsPunctuation(const Json& json, const std::string& where) {
  SplitStage stage{Syntax::kPcre2, PunctuationPattern(), SplitBehavior::kIsolated, false};
  if (FindMember(json, "behavior") == nullptr) return stage;
  QUIRE_ASSIGN_OR_RETURN(stage.behavior, BehaviorAt(json, where));
  return stage;
}

// Words and runs of what is neither a word's nor white space.
PreTokenizerStage WhitespaceStage() {
  const std::string word = WordPattern();
  std::string pattern = absl::StrCat(word, "+|(?:(?!", word, ")[^", WhitespaceMembers(), "])+");
  return SplitStage{Syntax::kPcre2, std::move(pattern), SplitBehavior::kRemoved, /*invert=*/true};
}

PreTokenizerStage WhitespaceSplitStage() {
  return SplitStage{Syntax::kPcre2, absl::StrCat("[", WhitespaceMembers(), "]"),
                    SplitBehavior::kRemoved, false};
}

absl::StatusOr<std::string> CharacterAt(const Json& json, const char* key,
                                        const std::string& where) {
  QUIRE_ASSIGN_OR_RETURN(std::string text, StringAt(json, key, where));
  if (!text.empty() && FirstCodePoint(text).length == text.size()) return text;
  return SpecError(where, absl::StrCat(key, " must be one character"));
}

StageOr AsCharDelimiterSplit(const Json& json, const std::string& where) {
  QUIRE_ASSIGN_OR_RETURN(std::string delimiter, CharacterAt(json, "delimiter", where));
  return SplitStage{Syntax::kLiteral, std::move(delimiter), SplitBehavior::kRemoved, false};
}

StageOr AsMetaspace(const Json& json, const std::string& where) {
  using Prepend = MetaspaceStage::Prepend;
  MetaspaceStage stage;
  QUIRE_ASSIGN_OR_RETURN(stage.replacement, CharacterAt(json, "replacement", where));
  QUIRE_ASSIGN_OR_RETURN(stage.split, BoolOr(json, "split", true, where));
  if (FindMember(json, "prepend_scheme") != nullptr) {
    QUIRE_ASSIGN_OR_RETURN(const std::string scheme, StringAt(json, "prepend_scheme", where));
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      return SpecUnsupported(where, absl::StrCat("prepend_scheme ", Quoted(scheme)),
                             "always, first, never");
    }
    stage.prepend = scheme == "always"  ? Prepend::kAlways
                    : scheme == "first" ? Prepend::kFirst
                                        : Prepend::kNever;
  }
  QUIRE_ASSIGN_OR_RETURN(const bool prefix, BoolOr(json, "add_prefix_space", true, where));
  if (!prefix && stage.prepend != Prepend::kNever) {
    return SpecError(where, "add_prefix_space = false contradicts prepend_scheme");
  }
  return stage;
}

absl::Status AppendByteLevel(const JsonStage& json, PreTokenizerSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const bool prefix,
                         BoolOr(*json.json, "add_prefix_space", true, json.where));
  QUIRE_ASSIGN_OR_RETURN(const bool use_regex, BoolOr(*json.json, "use_regex", true, json.where));
  if (prefix) spec.stages.push_back(PrefixSpaceStage{});
  if (use_regex) {
    spec.stages.push_back(
        SplitStage{Syntax::kOniguruma, kGpt2Pattern, SplitBehavior::kIsolated, false});
  }
  spec.byte_level = true;
  return absl::OkStatus();
}

StageOr AsStage(const JsonStage& stage) {
  const Json& json = *stage.json;
  if (stage.type == "Split") return AsSplit(json, stage.where);
  if (stage.type == "Digits") return AsDigits(json, stage.where);
  if (stage.type == "Metaspace") return AsMetaspace(json, stage.where);
  if (stage.type == "Punctuation") return AsPunctuation(json, stage.where);
  if (stage.type == "CharDelimiterSplit") return AsCharDelimiterSplit(json, stage.where);
  if (stage.type == "Whitespace") return WhitespaceStage();
  if (stage.type == "WhitespaceSplit") return WhitespaceSplitStage();
  return SpecUnsupported(stage.where, absl::StrCat("type ", Quoted(stage.type)), kSupported);
}

}  // namespace

// Text is spelled in the byte alphabet from ByteLevel on, so nothing may come after it. A Metaspace
// cuts at what it puts before pieces; two would cut at what the other puts there, so that pieces
// double stage by stage.
absl::StatusOr<PreTokenizerSpec> ReadPreTokenizer(const Json& root) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<JsonStage> list,
                         StagesOf(root, "pre_tokenizer", "pretokenizers"));
  PreTokenizerSpec spec;
  bool has_metaspace = false;
  for (const JsonStage& json : list) {
    if (spec.byte_level) {
      return SpecUnsupported(json.where, "a stage after ByteLevel", "ByteLevel as the last stage");
    }
    if (json.type == "Metaspace" && std::exchange(has_metaspace, true)) {
      return SpecUnsupported(json.where, "a second Metaspace", "");
    }
    if (json.type == "ByteLevel") {
      QUIRE_RETURN_IF_ERROR(AppendByteLevel(json, spec));
      continue;
    }
    QUIRE_ASSIGN_OR_RETURN(PreTokenizerStage stage, AsStage(json));
    spec.stages.push_back(std::move(stage));
  }
  return spec;
}

}  // namespace quire
