#include "core/text/token_decoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/status_macros.h"
#include "core/text/byte_alphabet.h"

namespace quire {
namespace {

using Kind = DecoderSpec::TokenStep::Kind;

constexpr size_t kMaxGrowth = 16;
constexpr size_t kSmallToken = 4096;  // which may grow by this however short it is

// A text with `content` in place of the matches that it is told of, in order. InvalidArgument as
// soon as that is longer than `max_bytes`.
class Replacement {
 public:
  Replacement(std::string_view text, std::string_view content, size_t max_bytes)
      : text_(text), content_(content), max_bytes_(max_bytes) {}

  absl::Status Match(size_t begin, size_t end) {
    result_.append(text_.substr(done_, begin - done_)).append(content_);
    done_ = end;
    return CheckSize();
  }

  absl::StatusOr<std::string> Finish() {
    result_.append(text_.substr(done_));
    QUIRE_RETURN_IF_ERROR(CheckSize());
    return std::move(result_);
  }

 private:
  absl::Status CheckSize() const {
    if (result_.size() <= max_bytes_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("decoder: makes a token longer than ", max_bytes_, " bytes"));
  }

  std::string_view text_;
  std::string_view content_;
  size_t max_bytes_;
  size_t done_ = 0;
  std::string result_;
};

absl::StatusOr<std::string> Replaced(std::string_view text, const std::string& pattern,
                                     const std::string& content, size_t max_bytes) {
  Replacement replacement(text, content, max_bytes);
  for (size_t at = text.find(pattern); at != std::string_view::npos;) {
    const size_t end = at + pattern.size();
    QUIRE_RETURN_IF_ERROR(replacement.Match(at, end));
    at = text.find(pattern, end);
  }
  return replacement.Finish();
}

absl::StatusOr<std::string> ReplacedMatches(std::string_view text, const SplitRegex& regex,
                                            const std::string& content, size_t max_bytes) {
  Replacement replacement(text, content, max_bytes);
  QUIRE_RETURN_IF_ERROR(regex.ForEachMatch(
      text, [&](size_t begin, size_t end) { return replacement.Match(begin, end); }));
  return replacement.Finish();
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
  const size_t max_bytes = kMaxGrowth * token.size() + kSmallToken;
  std::string text(token);
  for (const Step& step : steps_) {
    if (step.spec.kind == Kind::kReplaceString) {
      QUIRE_ASSIGN_OR_RETURN(text, Replaced(text, step.spec.pattern, step.spec.content, max_bytes));
    } else if (step.spec.kind == Kind::kStripLeft) {
      text = StrippedLeft(text, step.spec);
    } else {
      QUIRE_ASSIGN_OR_RETURN(text,
                             ReplacedMatches(text, *step.regex, step.spec.content, max_bytes));
    }
  }
  const std::optional<char> byte = spec_.byte_fallback ? FallbackByte(text) : std::nullopt;
  return byte.has_value() ? std::string(1, *byte) : text;
}

absl::StatusOr<std::string> TokenDecoder::FirstBytesOf(std::string_view token) const {
  return BytesOf(absl::StrReplaceAll({token.data(), token.size()}, {{spec_.leading.content, ""}}));
}

}  // namespace quire
