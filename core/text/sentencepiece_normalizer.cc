#include "core/text/sentencepiece_normalizer.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/base/status_macros.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

constexpr size_t kMaxGrowth = 16;
constexpr size_t kSmallText = 4096;  // which may grow to this however short it is

ByteTrie UserDefinedPieces(const SentencePieceSpec& spec) {
  std::vector<std::pair<std::string, int32_t>> entries;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.pieces[i].type != SentencePieceSpec::Type::kUserDefined) continue;
    entries.emplace_back(spec.pieces[i].text, static_cast<int32_t>(i));
  }
  return ByteTrie(std::move(entries));
}

void AppendWithSpaceSymbols(std::string_view text, std::string& output) {
  for (char c : text) {
    if (c == ' ') {
      output += kSpaceSymbol;
    } else {
      output += c;
    }
  }
}

}  // namespace

absl::StatusOr<SentencePieceNormalizer> SentencePieceNormalizer::Build(
    const SentencePieceSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(CharacterMap character_map, CharacterMap::Parse(spec.character_map));
  return SentencePieceNormalizer(spec, std::move(character_map));
}

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceSpec& spec,
                                                 CharacterMap character_map)
    : character_map_(std::move(character_map)),
      user_defined_(UserDefinedPieces(spec)),
      add_dummy_prefix_(spec.add_dummy_prefix),
      remove_extra_whitespaces_(spec.remove_extra_whitespaces) {}

SentencePieceNormalizer::Step SentencePieceNormalizer::FirstStep(std::string_view text) const {
  if (const size_t length = user_defined_.Longest(text).length; length > 0) {
    return {length, text.substr(0, length)};
  }
  if (const std::optional<CharacterMap::Match> match = character_map_.Longest(text)) {
    return {match->length, match->replacement};
  }
  const size_t length = FirstCodePoint(text).length;
  return {length, text.substr(0, length)};
}

absl::StatusOr<std::string> SentencePieceNormalizer::Normalize(std::string_view text) const {
  const size_t max_bytes = std::max(kSmallText, text.size() * kMaxGrowth);
  std::string output;
  while (remove_extra_whitespaces_ && !text.empty()) {
    const Step step = FirstStep(text);
    if (step.output != " ") break;
    text.remove_prefix(step.length);
  }
  if (text.empty()) return output;
  if (add_dummy_prefix_) output += kSpaceSymbol;
  bool after_space = remove_extra_whitespaces_;
  while (!text.empty()) {
    const Step step = FirstStep(text);
    std::string_view part = step.output;
    while (after_space && part.starts_with(' ')) part.remove_prefix(1);
    if (!part.empty()) {
      AppendWithSpaceSymbols(part, output);
      after_space = remove_extra_whitespaces_ && part.ends_with(' ');
    }
    if (output.size() > max_bytes) {
      return absl::InvalidArgumentError("the tokenizer's normalizer makes the text too long");
    }
    text.remove_prefix(step.length);
  }
  while (remove_extra_whitespaces_ && output.ends_with(kSpaceSymbol)) {
    output.resize(output.size() - kSpaceSymbol.size());
  }
  return output;
}

}  // namespace quire
