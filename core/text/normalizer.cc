#include "core/text/normalizer.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/split_regex.h"
#include "core/text/unicode_form.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Kind = NormalizerStage::Kind;
using Result = Normalizer::Result;
using Step = Normalizer::Step;

constexpr size_t kMaxBytes = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxGrowth = 16;    // U+FDFA grows elevenfold in NFKC
constexpr size_t kSmallText = 4096;  // which may grow to this however short it is

absl::Status CheckSize(const Result& result, size_t max_bytes) {
  if (result.text.size() <= max_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the tokenizer's normalizer makes the text longer than ", max_bytes, " bytes"));
}

// What the whole text begins with, too. A first code point that marks joined still is the front;
// one further on that they joined belongs to the marks, in the alignments of the `tokenizers`
// library.
size_t FrontOf(std::string_view text, std::string_view alone) {
  if (alone.empty() || text.empty()) return 0;
  size_t common = 0;
  while (common < std::min(text.size(), alone.size()) && text[common] == alone[common]) ++common;
  size_t front = FirstCodePoint(text).length;
  while (front < common) {
    const size_t next = front + FirstCodePoint(text.substr(front)).length;
    if (next > common) break;
    front = next;
  }
  return front;
}

// A step that turns each part of the text into some text of its own, as far as its front goes.
class PartwiseStep : public Step {
 public:
  absl::Status Apply(std::string_view input, size_t front, size_t max_bytes,
                     Result& result) const final {
    std::string alone;
    Append(input.substr(0, front), alone);
    result.text.reserve(input.size());
    Append(input, result.text);
    result.front = FrontOf(result.text, alone);
    return CheckSize(result, max_bytes);
  }

 private:
  virtual void Append(std::string_view input, std::string& output) const = 0;
};

class FormStep final : public PartwiseStep {
 public:
  explicit FormStep(UnicodeForm::Kind kind) : form_(kind) {}

 private:
  void Append(std::string_view input, std::string& output) const override {
    form_.Append(input, output);
  }

  UnicodeForm form_;
};

class StripAccentsStep final : public PartwiseStep {
  void Append(std::string_view input, std::string& output) const override {
    while (!input.empty()) {
      const CodePoint c = FirstCodePoint(input);
      if (!IsCombiningMark(c.value)) output += input.substr(0, c.length);
      input.remove_prefix(c.length);
    }
  }
};

class LowercaseStep final : public PartwiseStep {
  void Append(std::string_view input, std::string& output) const override {
    AppendLowercase(input, output);
  }
};

class PrependStep final : public Step {
 public:
  explicit PrependStep(std::string content) : content_(std::move(content)) {}

  absl::Status Apply(std::string_view input, size_t front, size_t max_bytes,
                     Result& result) const override {
    if (input.empty()) return absl::OkStatus();
    result.text.reserve(content_.size() + input.size());
    result.text.append(content_).append(input);
    result.front = front == 0 ? 0 : content_.size() + front;
    return CheckSize(result, max_bytes);
  }

 private:
  std::string content_;
};

class StripStep final : public Step {
 public:
  StripStep(bool left, bool right) : left_(left), right_(right) {}

  absl::Status Apply(std::string_view input, size_t front, size_t /*max_bytes*/,
                     Result& result) const override {
    const size_t leading = left_ ? LeadingWhitespaceLength(input) : 0;
    input.remove_prefix(leading);
    if (right_) input.remove_suffix(TrailingWhitespaceLength(input));
    result.text = input;
    result.front = front - std::min(front, leading);
    return absl::OkStatus();
  }

 private:
  bool left_;
  bool right_;
};

// What replaces, for strings and expressions: copies the input around the matches it is told of.
class Replacement {
 public:
  Replacement(std::string_view input, size_t front, const std::string& content, size_t max_bytes,
              Result& result)
      : input_(input), front_(front), content_(content), max_bytes_(max_bytes), result_(result) {
    result_.text.reserve(input.size());
  }

  absl::Status OnMatch(size_t begin, size_t end) {
    CopyUpTo(begin);
    result_.text += content_;
    if (begin < front_) result_.front += content_.size();
    done_ = end;
    return CheckSize(result_, max_bytes_);
  }

  absl::Status Finish() {
    CopyUpTo(input_.size());
    return CheckSize(result_, max_bytes_);
  }

 private:
  void CopyUpTo(size_t end) {
    result_.text += input_.substr(done_, end - done_);
    result_.front += std::min(end, front_) - std::min(done_, front_);
  }

  std::string_view input_;
  size_t front_;
  const std::string& content_;
  size_t max_bytes_;
  Result& result_;
  size_t done_ = 0;
};

class ReplaceStringStep final : public Step {
 public:
  ReplaceStringStep(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::Status Apply(std::string_view input, size_t front, size_t max_bytes,
                     Result& result) const override {
    Replacement replacement(input, front, content_, max_bytes, result);
    for (size_t at = input.find(pattern_); at != std::string_view::npos;
         at = input.find(pattern_, at + pattern_.size())) {
      QUIRE_RETURN_IF_ERROR(replacement.OnMatch(at, at + pattern_.size()));
    }
    return replacement.Finish();
  }

 private:
  std::string pattern_;
  std::string content_;
};

class ReplaceRegexStep final : public Step {
 public:
  ReplaceRegexStep(SplitRegex regex, std::string content)
      : regex_(std::move(regex)), content_(std::move(content)) {}

  absl::Status Apply(std::string_view input, size_t front, size_t max_bytes,
                     Result& result) const override {
    Replacement replacement(input, front, content_, max_bytes, result);
    QUIRE_RETURN_IF_ERROR(regex_.ForEachMatch(
        input, [&](size_t begin, size_t end) { return replacement.OnMatch(begin, end); }));
    return replacement.Finish();
  }

 private:
  SplitRegex regex_;
  std::string content_;
};

absl::StatusOr<std::unique_ptr<const Step>> BuildStep(const NormalizerStage& stage) {
  switch (stage.kind) {
    case Kind::kPrepend:
      return std::make_unique<PrependStep>(stage.content);
    case Kind::kReplaceString:
      return std::make_unique<ReplaceStringStep>(stage.pattern, stage.content);
    case Kind::kReplaceRegex: {
      QUIRE_ASSIGN_OR_RETURN(SplitRegex regex, SplitRegex::Compile(stage.pattern));
      return std::make_unique<ReplaceRegexStep>(std::move(regex), stage.content);
    }
    case Kind::kStrip:
      return std::make_unique<StripStep>(stage.left, stage.right);
    case Kind::kStripAccents:
      return std::make_unique<StripAccentsStep>();
    case Kind::kLowercase:
      return std::make_unique<LowercaseStep>();
    case Kind::kNfc:
      return std::make_unique<FormStep>(UnicodeForm::Kind::kNfc);
    case Kind::kNfd:
      return std::make_unique<FormStep>(UnicodeForm::Kind::kNfd);
    case Kind::kNfkc:
      return std::make_unique<FormStep>(UnicodeForm::Kind::kNfkc);
    case Kind::kNfkd:
      break;
  }
  return std::make_unique<FormStep>(UnicodeForm::Kind::kNfkd);
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::Build(const std::vector<NormalizerStage>& stages) {
  Normalizer normalizer;
  for (const NormalizerStage& stage : stages) {
    QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<const Step> step, BuildStep(stage));
    normalizer.steps_.push_back(std::move(step));
  }
  return normalizer;
}

absl::StatusOr<Result> Normalizer::Normalize(std::string_view text) const {
  const size_t max_bytes = std::min(kMaxBytes, std::max(kSmallText, text.size() * kMaxGrowth));
  Result result;
  result.front = text.empty() ? 0 : FirstCodePoint(text).length;
  for (size_t i = 0; i < steps_.size(); ++i) {
    Result next;
    QUIRE_RETURN_IF_ERROR(
        steps_[i]->Apply(i == 0 ? text : result.text, result.front, max_bytes, next));
    result = std::move(next);
  }
  if (steps_.empty()) result.text = text;
  return result;
}

}  // namespace quire
