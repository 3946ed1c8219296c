#include "core/text/regex_translation.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/character_sets.h"
#include "core/text/unicode_differences.h"

namespace quire {
namespace {

// Oniguruma lets one code point match several letters when case is ignored: U+FB06 matches "st".
// These are the ASCII pairs for which one exists.
bool HasLigature(char first, char second) {
  constexpr std::array<std::string_view, 5> kPairs = {"ss", "st", "ff", "fi", "fl"};
  const char pair[] = {static_cast<char>(std::tolower(static_cast<unsigned char>(first))),
                       static_cast<char>(std::tolower(static_cast<unsigned char>(second)))};
  return std::find(kPairs.begin(), kPairs.end(), std::string_view(pair, 2)) != kPairs.end();
}

// One pass over the pattern; copies what both engines read alike.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (position_ < pattern_.size()) {
      QUIRE_RETURN_IF_ERROR(in_class_ ? ClassMember() : Element());
    }
    if (in_class_ || !ignores_case_.empty()) return Unsupported("an unclosed bracket");
    return std::move(output_);
  }

 private:
  absl::Status Unsupported(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("regular expression uses ", std::string(what),
                                                   " near position ", position_,
                                                   ", which Quire does not support"));
  }

  bool IgnoresCase() const { return !ignores_case_.empty() && ignores_case_.back(); }
  char Peek(size_t ahead) const {
    return position_ + ahead < pattern_.size() ? pattern_[position_ + ahead] : '\0';
  }
  void Copy(size_t length) {
    output_ += pattern_.substr(position_, length);
    position_ += length;
  }

  absl::Status Element() {
    const char c = Peek(0);
    const bool after_letter = std::exchange(previous_is_literal_, false);
    switch (c) {
      case '\\':
        return Escape();
      case '[':
        return OpenClass();
      case '(':
        return OpenGroup();
      case ')':
        return CloseGroup();
      case '{':
        return Repetition();
      case '^':
      case '$':
        return Unsupported("an anchor");
      case '.':
      case '|':
      case '*':
      case '+':
      case '?':
        Copy(1);
        return absl::OkStatus();
      default:
        if (after_letter && IgnoresCase() && HasLigature(pattern_[position_ - 1], c)) {
          return Unsupported("letters with a ligature in a case-insensitive group");
        }
        return Literal();
    }
  }

  absl::Status ClassMember() {
    const char c = Peek(0);
    if (c == '\\') return Escape();
    if (c == '[') return Unsupported("a nested character class");
    if (c == '&' && Peek(1) == '&') return Unsupported("a class intersection");
    if (c == ']') in_class_ = false;
    return Literal();
  }

  absl::Status Literal() {
    if (IgnoresCase() && static_cast<unsigned char>(Peek(0)) >= 0x80) {
      return Unsupported("a character beyond ASCII in a case-insensitive group");
    }
    previous_is_literal_ = !in_class_;
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status OpenClass() {
    Copy(Peek(1) == '^' ? 2 : 1);
    if (Peek(0) == ']') return Unsupported("an empty character class");
    in_class_ = true;
    return absl::OkStatus();
  }

  absl::Status OpenGroup() {
    constexpr std::array<std::string_view, 7> kPrefixes = {"(?:",  "(?=",  "(?!", "(?>",
                                                           "(?<=", "(?<!", "(?i:"};
    const std::string_view rest = pattern_.substr(position_);
    if (Peek(1) == '*') return Unsupported("a group with a verb");
    if (Peek(1) != '?') {
      ignores_case_.push_back(IgnoresCase());
      Copy(1);
      return absl::OkStatus();
    }
    for (std::string_view prefix : kPrefixes) {
      if (!rest.starts_with(prefix)) continue;
      ignores_case_.push_back(IgnoresCase() || prefix == "(?i:");
      Copy(prefix.size());
      return absl::OkStatus();
    }
    return Unsupported("a group option");
  }

  absl::Status CloseGroup() {
    if (ignores_case_.empty()) return Unsupported("an unopened bracket");
    ignores_case_.pop_back();
    Copy(1);
    return absl::OkStatus();
  }

  // {n}, {n,} or {n,m}. Ruby reads {,m} as {0,m}, {n}+ as a repeated repetition and {n}? as an
  // optional one; PCRE2 does not.
  absl::Status Repetition() {
    size_t length = 1;
    const auto skip_digits = [&] {
      const size_t start = length;
      while (std::isdigit(static_cast<unsigned char>(Peek(length))) != 0) ++length;
      return length > start;
    };
    if (!skip_digits()) return Unsupported("an unescaped brace");
    const bool is_exact = Peek(length) != ',';
    if (!is_exact) {
      ++length;
      skip_digits();
    }
    if (Peek(length) != '}') return Unsupported("an unescaped brace");
    if (Peek(length + 1) == '+') return Unsupported("a possessive interval");
    if (is_exact && Peek(length + 1) == '?') return Unsupported("an optional interval");
    Copy(length + 1);
    return absl::OkStatus();
  }

  absl::Status Escape() {
    const char c = Peek(1);
    if (c == 's') return Members(WhitespaceMembers(), 2);
    if (c == 'S') return Complement(WhitespaceMembers(), 2);
    if (c == 'd') return Members(CategoryMembers("Nd"), 2);
    if (c == 'p' || c == 'P') return Property(/*is_complement=*/c == 'P');
    if (c == 'x' && !IgnoresCase()) return CodePoint();
    const bool control = c == 'r' || c == 'n' || c == 't' || c == 'f';
    if (control || std::ispunct(static_cast<unsigned char>(c)) != 0) {
      Copy(2);
      return absl::OkStatus();
    }
    return Unsupported("an escape sequence");
  }

  // `members` replaces the escape of `length` characters. Its last member must not become the
  // start of a range, nor its first one the end.
  absl::Status Members(std::string_view members, size_t length) {
    if (in_class_) {
      const bool after_dash = output_.ends_with('-') && !output_.ends_with("\\-");
      const bool before_dash = Peek(length) == '-' && Peek(length + 1) != ']';
      if (after_dash || before_dash) return Unsupported("a set next to a dash in a class");
      output_ += members;
    } else {
      absl::StrAppend(&output_, "[", std::string(members), "]");
    }
    position_ += length;
    return absl::OkStatus();
  }

  absl::Status Complement(std::string_view members, size_t length) {
    if (in_class_) return Unsupported("the complement of a set in a character class");
    absl::StrAppend(&output_, "[^", std::string(members), "]");
    position_ += length;
    return absl::OkStatus();
  }

  absl::Status Property(bool is_complement) {
    const size_t close = pattern_.find('}', position_);
    if (Peek(2) != '{' || close == std::string_view::npos) return Unsupported("a property");
    const std::string_view name = pattern_.substr(position_ + 3, close - position_ - 3);
    const bool is_category = IsGeneralCategory(name);
    if (!is_category && !IsKnownScript(name)) {
      return Unsupported("a property that is no general category or known script");
    }
    if (IgnoresCase()) return Unsupported("a property in a case-insensitive group");
    const std::string members = is_category ? CategoryMembers(name) : ScriptMembers(name);
    const size_t length = close + 1 - position_;
    return is_complement ? Complement(members, length) : Members(members, length);
  }

  absl::Status CodePoint() {
    const size_t close = pattern_.find('}', position_);
    if (Peek(2) != '{' || close == std::string_view::npos) {
      return Unsupported("\\x without braces");
    }
    Copy(close + 1 - position_);
    return absl::OkStatus();
  }

  std::string_view pattern_;
  size_t position_ = 0;
  bool in_class_ = false;
  bool previous_is_literal_ = false;
  std::vector<bool> ignores_case_;  // one entry for each open group
  std::string output_;
};

}  // namespace

absl::StatusOr<std::string> TranslateOnigurumaPattern(std::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace quire
