#include "core/text/token_decoder.h"

#include <utility>

#include "core/base/status_macros.h"
#include "core/text/byte_alphabet.h"

namespace quire {
namespace {

using Kind = DecoderSpec::TokenStep::Kind;

std::string Replaced(std::string_view text, const std::string& pattern,
                     const std::string& content) {
  std::string result;
  size_t done = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos;
       at = text.find(pattern, done)) {
    result.append(text.substr(done, at - done)).append(content);
    done = at + pattern.size();
  }
  return result.append(text.substr(done));
}

absl::StatusOr<std::string> ReplacedMatches(std::string_view text, const SplitRegex& regex,
                                            const std::string& content) {
  std::string result;
  size_t done = 0;
  QUIRE_RETURN_IF_ERROR(regex.ForEachMatch(text, [&](size_t begin, size_t end) {
    result.append(text.substr(done, begin - done)).append(content);
    done = end;
    return absl::OkStatus();
  }));
  return result.append(text.substr(done));
}

std::string StrippedLeft(std::string_view text, const DecoderSpec::TokenStep& step) {
  for (size_t i = 0; i < step.count && text.starts_with(step.content); ++i) {
    text.remove_prefix(step.content.size());
  }
  return std::string(text);
}

}  // namespace

std::optional<char> FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    const bool decimal = c >= '0' && c <= '9';
    const char lower = static_cast<char>(c | 0x20);
    return decimal ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  const int high = digit(token[3]);
  const int low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high << 4 | low);
}

absl::StatusOr<TokenDecoder> TokenDecoder::Build(const DecoderSpec& spec) {
  TokenDecoder decoder;
  decoder.spec_ = spec;
  for (const DecoderSpec::TokenStep& step : spec.steps) {
    std::unique_ptr<const SplitRegex> regex;
    if (step.kind == Kind::kReplaceRegex) {
      QUIRE_ASSIGN_OR_RETURN(SplitRegex compiled, SplitRegex::Compile(step.pattern));
      regex = std::make_unique<const SplitRegex>(std::move(compiled));
    }
    decoder.steps_.push_back({step, std::move(regex)});
  }
  return decoder;
}

absl::StatusOr<std::string> TokenDecoder::BytesOf(std::string_view token) const {
  if (spec_.byte_level) return BytesSpelledBy(token).value_or(std::string(token));
  std::string text(token);
  for (const Step& step : steps_) {
    if (step.spec.kind == Kind::kReplaceString) {
      text = Replaced(text, step.spec.pattern, step.spec.content);
    } else if (step.spec.kind == Kind::kStripLeft) {
      text = StrippedLeft(text, step.spec);
    } else {
      QUIRE_ASSIGN_OR_RETURN(text, ReplacedMatches(text, *step.regex, step.spec.content));
    }
  }
  const std::optional<char> byte = spec_.byte_fallback ? FallbackByte(text) : std::nullopt;
  return byte.has_value() ? std::string(1, *byte) : text;
}

absl::StatusOr<std::string> TokenDecoder::FirstBytesOf(std::string_view token) const {
  return BytesOf(Replaced(token, spec_.leading.content, ""));
}

}  // namespace quire
