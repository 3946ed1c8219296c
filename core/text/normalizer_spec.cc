#include "core/text/normalizer_spec.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"

namespace quire {
namespace {

using Kind = NormalizerStage::Kind;

constexpr char kSupported[] =
    "Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, StripAccents, Lowercase";

std::optional<Kind> KindWithoutParameters(std::string_view type) {
  constexpr std::pair<std::string_view, Kind> kKinds[] = {{"NFC", Kind::kNfc},
                                                          {"NFD", Kind::kNfd},
                                                          {"NFKC", Kind::kNfkc},
                                                          {"NFKD", Kind::kNfkd},
                                                          {"Lowercase", Kind::kLowercase},
                                                          {"StripAccents", Kind::kStripAccents}};
  for (const auto& [name, kind] : kKinds) {
    if (name == type) return kind;
  }
  return std::nullopt;
}

absl::StatusOr<NormalizerStage> AsStage(const JsonStage& json) {
  NormalizerStage stage{.kind = Kind::kPrepend, .pattern = "", .content = ""};
  if (const std::optional<Kind> kind = KindWithoutParameters(json.type)) {
    stage.kind = *kind;
    return stage;
  }
  if (json.type == "Prepend") {
    QUIRE_ASSIGN_OR_RETURN(stage.content, ShortStringAt(*json.json, "prepend", json.where));
    return stage;
  }
  if (json.type == "Strip") {
    stage.kind = Kind::kStrip;
    QUIRE_ASSIGN_OR_RETURN(stage.left, BoolOr(*json.json, "strip_left", true, json.where));
    QUIRE_ASSIGN_OR_RETURN(stage.right, BoolOr(*json.json, "strip_right", true, json.where));
    return stage;
  }
  if (json.type != "Replace") {
    return SpecUnsupported(json.where, absl::StrCat("type ", Quoted(json.type)), kSupported);
  }
  QUIRE_ASSIGN_OR_RETURN(JsonPattern pattern, PatternAt(*json.json, json.where));
  stage.kind = pattern.is_regex ? Kind::kReplaceRegex : Kind::kReplaceString;
  stage.pattern = std::move(pattern.text);
  QUIRE_ASSIGN_OR_RETURN(stage.content, ShortStringAt(*json.json, "content", json.where));
  return stage;
}

}  // namespace

absl::StatusOr<std::vector<NormalizerStage>> ReadNormalizer(const Json& root) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<JsonStage> list,
                         StagesOf(root, "normalizer", "normalizers"));
  std::vector<NormalizerStage> stages;
  for (const JsonStage& json : list) {
    QUIRE_ASSIGN_OR_RETURN(NormalizerStage stage, AsStage(json));
    stages.push_back(std::move(stage));
  }
  return stages;
}

}  // namespace quire
