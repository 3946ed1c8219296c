#include "core/text/pre_tokenizer.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire {

const char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::StatusOr<PreTokenizer> PreTokenizer::Build(const std::vector<PreTokenizerStage>& stages) {
  PreTokenizer result;
  for (const PreTokenizerStage& stage : stages) {
    Stage built{.add_prefix_space = stage.add_prefix_space, .regex = std::nullopt};
    if (!stage.pattern.empty()) {
      QUIRE_ASSIGN_OR_RETURN(SplitRegex regex, SplitRegex::Compile(stage.pattern));
      built.regex = std::move(regex);
    }
    result.stages_.push_back(std::move(built));
  }
  return result;
}

absl::Status PreTokenizer::Split(std::string_view text, Sink sink) const {
  return text.empty() ? absl::OkStatus() : RunFrom(0, text, sink);
}

absl::Status PreTokenizer::RunFrom(size_t stage, std::string_view piece, Sink sink) const {
  if (stage == stages_.size()) return sink(piece);
  std::string prefixed;
  if (stages_[stage].add_prefix_space && !piece.starts_with(' ')) {
    prefixed = absl::StrCat(" ", std::string(piece));
    piece = prefixed;
  }
  if (!stages_[stage].regex.has_value()) return RunFrom(stage + 1, piece, sink);
  return stages_[stage].regex->Split(
      piece, [&](std::string_view part) { return RunFrom(stage + 1, part, sink); });
}

}  // namespace quire
