#include "core/text/decoder_spec.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Step = DecoderSpec::TokenStep;

constexpr char kSupported[] = "Sequence, ByteLevel, Replace, Metaspace, Strip, ByteFallback, Fuse";
constexpr uint32_t kMaxStrip = 64;

// Reads the stages in order; what may come next depends on what has come.
class DecoderReader {
 public:
  absl::Status Read(const JsonStage& stage) {
    if (spec_.byte_level && stage.type != "Fuse") {
      return SpecUnsupported(stage.where, absl::StrCat(Quoted(stage.type), " after ByteLevel"));
    }
    if (stage.type == "Fuse") return ReadFuse();
    if (stage.type == "Strip") return ReadStrip(stage);
    if (fused_ || spec_.byte_fallback) {
      return SpecUnsupported(stage.where,
                             absl::StrCat(Quoted(stage.type), " after ByteFallback or Fuse"));
    }
    if (stage.type == "ByteLevel") return ReadByteLevel(stage);
    if (stage.type == "Replace") return ReadReplace(stage);
    if (stage.type == "Metaspace") return ReadMetaspace(stage);
    if (stage.type != "ByteFallback") {
      return SpecUnsupported(stage.where, absl::StrCat("type ", Quoted(stage.type)), kSupported);
    }
    spec_.byte_fallback = true;
    return absl::OkStatus();
  }

  DecoderSpec Take() { return std::move(spec_); }

 private:
  absl::Status ReadFuse() {
    fused_ = true;
    return absl::OkStatus();
  }

  absl::Status ReadByteLevel(const JsonStage& stage) {
    if (!spec_.steps.empty()) return SpecUnsupported(stage.where, "a stage before ByteLevel");
    spec_.byte_level = true;
    return absl::OkStatus();
  }

  absl::Status ReadReplace(const JsonStage& stage) {
    QUIRE_ASSIGN_OR_RETURN(JsonPattern pattern, PatternAt(*stage.json, stage.where));
    QUIRE_ASSIGN_OR_RETURN(std::string content, ShortStringAt(*stage.json, "content", stage.where));
    const Step::Kind kind =
        pattern.is_regex ? Step::Kind::kReplaceRegex : Step::Kind::kReplaceString;
    spec_.steps.push_back({kind, std::move(pattern.text), std::move(content)});
    return absl::OkStatus();
  }

  absl::Status ReadMetaspace(const JsonStage& stage) {
    QUIRE_ASSIGN_OR_RETURN(std::string replacement,
                           ShortStringAt(*stage.json, "replacement", stage.where));
    if (replacement.empty() || FirstCodePoint(replacement).length != replacement.size()) {
      return SpecError(stage.where, "replacement must be one character");
    }
    const Json* scheme = FindMember(*stage.json, "prepend_scheme");
    if (scheme == nullptr || *scheme != "never") {
      if (!spec_.steps.empty()) {
        return SpecUnsupported(stage.where, "a stage before Metaspace");
      }
      spec_.leading = {LeadingStrip::Rule::kFirstToken, replacement};
    }
    spec_.steps.push_back({Step::Kind::kReplaceString, std::move(replacement), " "});
    return absl::OkStatus();
  }

  absl::Status ReadStrip(const JsonStage& stage) {
    QUIRE_ASSIGN_OR_RETURN(std::string content, ShortStringAt(*stage.json, "content", stage.where));
    QUIRE_ASSIGN_OR_RETURN(const uint32_t start, CountAt(*stage.json, "start", stage.where));
    QUIRE_ASSIGN_OR_RETURN(const uint32_t stop, CountAt(*stage.json, "stop", stage.where));
    if (content.empty() || FirstCodePoint(content).length != content.size()) {
      return SpecError(stage.where, "content must be one character");
    }
    if (stop != 0 || start > kMaxStrip) {
      return SpecUnsupported(stage.where, absl::StrCat("start ", start, " with stop ", stop),
                             absl::StrCat("start up to ", kMaxStrip, " with stop 0"));
    }
    if (!fused_ && spec_.byte_fallback) {
      return SpecUnsupported(stage.where, "Strip between ByteFallback and Fuse");
    }
    if (fused_ && spec_.leading.rule != LeadingStrip::Rule::kNothing) {
      return SpecUnsupported(stage.where, "Strip after Metaspace or another Strip");
    }
    if (fused_) {
      spec_.leading = {LeadingStrip::Rule::kCopies, std::move(content), start};
    } else {
      spec_.steps.push_back({Step::Kind::kStripLeft, "", std::move(content), start});
    }
    return absl::OkStatus();
  }

  DecoderSpec spec_;
  bool fused_ = false;
};

}  // namespace

absl::StatusOr<DecoderSpec> ReadDecoder(const Json& root) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<JsonStage> stages,
                         StagesOf(root, "decoder", "decoders"));
  if (stages.empty()) return SpecError("decoder", absl::StrCat("needs one of ", kSupported));
  DecoderReader reader;
  for (const JsonStage& stage : stages) QUIRE_RETURN_IF_ERROR(reader.Read(stage));
  return reader.Take();
}

}  // namespace quire
