#include "core/text/pre_tokenizer.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

// In PCRE2 a backslash before an ASCII character that is no letter or digit makes it literal.
std::string EscapedForPcre2(std::string_view literal) {
  std::string pattern;
  for (char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0) {
      pattern += '\\';
    }
    pattern += c;
  }
  return pattern;
}

// `piece` with its spaces replaced, and one more before it where `prepend`.
std::string WithMetaspaces(std::string_view piece, const std::string& replacement, bool prepend) {
  std::string text;
  text.reserve(piece.size() + piece.size() / 2 + replacement.size());
  if (prepend && piece[0] != ' ' && !piece.starts_with(replacement)) text += replacement;
  while (!piece.empty()) {
    const size_t word = std::min(piece.find(' '), piece.size());
    text += piece.substr(0, word);
    piece.remove_prefix(word);
    if (piece.empty()) break;
    text += replacement;
    piece.remove_prefix(1);
  }
  return text;
}

}  // namespace

const char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::StatusOr<PreTokenizer::CompiledSplit> PreTokenizer::CompileSplit(const SplitStage& stage) {
  if (stage.syntax == SplitStage::Syntax::kOniguruma) {
    QUIRE_ASSIGN_OR_RETURN(SplitRegex regex, SplitRegex::Compile(stage.pattern));
    return CompiledSplit{std::move(regex), stage.behavior, stage.invert};
  }
  const bool literal = stage.syntax == SplitStage::Syntax::kLiteral;
  return CompiledSplit{
      SplitRegex::FromPcre2(literal ? EscapedForPcre2(stage.pattern) : stage.pattern),
      stage.behavior, stage.invert};
}

absl::StatusOr<PreTokenizer> PreTokenizer::Build(const std::vector<PreTokenizerStage>& stages) {
  PreTokenizer result;
  for (const PreTokenizerStage& stage : stages) {
    if (const auto* split = std::get_if<SplitStage>(&stage)) {
      QUIRE_ASSIGN_OR_RETURN(CompiledSplit compiled, CompileSplit(*split));
      result.stages_.push_back(std::move(compiled));
    } else if (const auto* metaspace = std::get_if<MetaspaceStage>(&stage)) {
      result.stages_.push_back(*metaspace);
    } else {
      result.stages_.push_back(PrefixSpaceStage{});
    }
  }
  return result;
}

absl::Status PreTokenizer::Split(std::string_view text, size_t front, Sink sink) const {
  return text.empty() ? absl::OkStatus() : RunFrom(0, text, front, sink);
}

absl::Status PreTokenizer::RunFrom(size_t stage, std::string_view piece, size_t front,
                                   Sink sink) const {
  if (stage == stages_.size()) return sink(piece);
  if (const auto* split = std::get_if<CompiledSplit>(&stages_[stage])) {
    const auto on_part = [&](std::string_view part) {
      const auto begin = static_cast<size_t>(part.data() - piece.data());
      return RunFrom(stage + 1, part, front - std::min(front, begin), sink);
    };
    return SplitText(piece, split->regex, split->behavior, split->invert, on_part);
  }
  return std::holds_alternative<MetaspaceStage>(stages_[stage])
             ? RunMetaspace(stage, piece, front, sink)
             : RunPrefixSpace(stage, piece, front, sink);
}

absl::Status PreTokenizer::RunPrefixSpace(size_t stage, std::string_view piece, size_t front,
                                          Sink sink) const {
  if (piece.starts_with(' ')) return RunFrom(stage + 1, piece, front, sink);
  const std::string prefixed = absl::StrCat(" ", std::string(piece));
  return RunFrom(stage + 1, prefixed, front == 0 ? 0 : front + 1, sink);
}

absl::Status PreTokenizer::RunMetaspace(size_t stage, std::string_view piece, size_t front,
                                        Sink sink) const {
  using Prepend = MetaspaceStage::Prepend;
  const MetaspaceStage& metaspace = std::get<MetaspaceStage>(stages_[stage]);
  const bool prepend =
      metaspace.prepend == Prepend::kAlways || (metaspace.prepend == Prepend::kFirst && front > 0);
  const std::string text = WithMetaspaces(piece, metaspace.replacement, prepend);
  front = front == 0
              ? 0
              : WithMetaspaces(piece.substr(0, front), metaspace.replacement, prepend).size();
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t next =
        metaspace.split ? text.find(metaspace.replacement, begin + 1) : std::string::npos;
    const size_t end = std::min(next, text.size());
    QUIRE_RETURN_IF_ERROR(RunFrom(stage + 1, std::string_view(text).substr(begin, end - begin),
                                  front - std::min(front, begin), sink));
    begin = end;
  }
  return absl::OkStatus();
}

}  // namespace quire
