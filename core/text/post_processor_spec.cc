#include "core/text/post_processor_spec.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"

namespace quire {
namespace {

constexpr char kSupported[] =
    "Sequence, ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing";

absl::Status AppendSpecialToken(const JsonStage& stage, const Json& piece,
                                const TokenizerLimits& limits, std::vector<TokenId>& ids) {
  QUIRE_ASSIGN_OR_RETURN(const std::string name, StringAt(piece, "id", stage.where));
  QUIRE_ASSIGN_OR_RETURN(const Json* table, ObjectAt(*stage.json, "special_tokens", stage.where));
  QUIRE_ASSIGN_OR_RETURN(const Json* entry, ObjectAt(*table, name.c_str(), stage.where));
  QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(*entry, "ids", stage.where));
  for (const Json& id : *list) {
    const std::optional<TokenId> token = AsTokenId(id, limits.max_vocab_size);
    if (!token.has_value()) return BadTokenId(stage.where, limits.max_vocab_size);
    ids.push_back(*token);
  }
  return absl::OkStatus();
}

// {"Sequence": {"id": "A", ...}}, where the template puts the text.
bool IsFirstText(const Json& piece) {
  const Json* sequence = FindMember(piece, "Sequence");
  const Json* id = sequence == nullptr ? nullptr : FindMember(*sequence, "id");
  return id != nullptr && *id == "A";
}

absl::StatusOr<TemplateSpec> AsTemplate(const JsonStage& stage, const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const Json* single, ArrayAt(*stage.json, "single", stage.where));
  TemplateSpec spec;
  bool seen_text = false;
  for (const Json& piece : *single) {
    if (piece.is_object() && piece.contains("SpecialToken")) {
      QUIRE_RETURN_IF_ERROR(AppendSpecialToken(stage, piece["SpecialToken"], limits,
                                               seen_text ? spec.suffix : spec.prefix));
      continue;
    }
    if (!IsFirstText(piece) || seen_text) {
      return SpecUnsupported(stage.where, "a template that is not one text");
    }
    seen_text = true;
  }
  if (!seen_text) return SpecUnsupported(stage.where, "a template without the text");
  return spec;
}

// ["</s>", 2]
absl::StatusOr<TokenId> NamedIdAt(const JsonStage& stage, const char* key,
                                  const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const Json* pair, ArrayAt(*stage.json, key, stage.where));
  const bool is_pair = pair->size() == 2 && (*pair)[0].is_string();
  if (!is_pair) return SpecError(stage.where, absl::StrCat(key, " must be [\"token\", id]"));
  const std::optional<TokenId> id = AsTokenId((*pair)[1], limits.max_vocab_size);
  if (!id.has_value()) return BadTokenId(stage.where, limits.max_vocab_size);
  return *id;
}

absl::StatusOr<TemplateSpec> AsClsAndSep(const JsonStage& stage, const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const TokenId cls, NamedIdAt(stage, "cls", limits));
  QUIRE_ASSIGN_OR_RETURN(const TokenId sep, NamedIdAt(stage, "sep", limits));
  return TemplateSpec{{cls}, {sep}};
}

absl::StatusOr<TemplateSpec> AsStage(const JsonStage& stage, const TokenizerLimits& limits) {
  if (stage.type == "ByteLevel") return TemplateSpec{};  // changes offsets alone
  if (stage.type == "TemplateProcessing") return AsTemplate(stage, limits);
  if (stage.type == "RobertaProcessing" || stage.type == "BertProcessing") {
    return AsClsAndSep(stage, limits);
  }
  return SpecUnsupported(stage.where, absl::StrCat("type ", Quoted(stage.type)), kSupported);
}

}  // namespace

absl::StatusOr<TemplateSpec> ReadPostProcessor(const Json& root, const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<JsonStage> stages,
                         StagesOf(root, "post_processor", "processors"));
  TemplateSpec spec;
  for (const JsonStage& stage : stages) {
    QUIRE_ASSIGN_OR_RETURN(const TemplateSpec outer, AsStage(stage, limits));
    spec.prefix.insert(spec.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    spec.suffix.insert(spec.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return spec;
}

}  // namespace quire
