#include "core/text/unicode_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "core/base/check.h"
#include "core/text/unicode_additions.h"
#include "core/text/unicode_differences.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

// Holds nearly all of what changes; the rest, compatibility ideographs, takes the slow way.
constexpr char32_t kTableSize = 0x20000;
// The longest decomposition, U+FDFA's, has 18 code points.
constexpr size_t kMaxDecomposition = 32;

int Options(UnicodeForm::Kind kind) {
  switch (kind) {
    case UnicodeForm::Kind::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case UnicodeForm::Kind::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case UnicodeForm::Kind::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case UnicodeForm::Kind::kNfkd:
      break;
  }
  return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
}

int CombiningClass(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

template <typename Range>
bool Holds(const Range& range, char32_t code_point) {
  return range.first <= code_point && code_point <= range.last;
}

bool IsUnknownToNormalizers(char32_t code_point) {
  const auto holds = [&](const auto& range) { return Holds(range, code_point); };
  return std::any_of(UnknownToNormalizers().begin(), UnknownToNormalizers().end(), holds) ||
         std::any_of(UnicodeAdditions().begin(), UnicodeAdditions().end(), holds);
}

// Stable, and not utf8proc's own, whose time is quadratic in the length of a run of marks.
void OrderMarks(std::vector<int32_t>& code_points) {
  const auto is_mark = [](int32_t c) { return CombiningClass(c) != 0; };
  auto run = std::find_if(code_points.begin(), code_points.end(), is_mark);
  while (run != code_points.end()) {
    const auto end = std::find_if_not(run, code_points.end(), is_mark);
    std::stable_sort(run, end,
                     [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    run = std::find_if(end, code_points.end(), is_mark);
  }
}

}  // namespace

UnicodeForm::UnicodeForm(Kind kind) : options_(Options(kind)), roles_(kTableSize) {
  for (char32_t c = 0; c < kTableSize; ++c) roles_[c] = FindRole(c);
  if ((options_ & UTF8PROC_COMPOSE) != 0) MarkCompositionTails();
  const auto set_unknown = [this](const auto& range) {
    for (char32_t c = range.first; c <= range.last && c < kTableSize; ++c) {
      roles_[c] = Role::kUnknown;
    }
  };
  for (const CodePointRange& range : UnknownToNormalizers()) set_unknown(range);
  for (const UnicodeAddition& range : UnicodeAdditions()) set_unknown(range);
}

UnicodeForm::Role UnicodeForm::FindRole(char32_t code_point) const {
  if (code_point < 0x80) return Role::kInert;
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (surrogate || CombiningClass(static_cast<int32_t>(code_point)) != 0) return Role::kActive;
  std::vector<int32_t> form;
  AppendDecomposed(code_point, form);
  if ((options_ & UTF8PROC_COMPOSE) != 0 && form.size() > 1) {
    const auto size = utf8proc_normalize_utf32(form.data(), static_cast<ptrdiff_t>(form.size()),
                                               static_cast<utf8proc_option_t>(options_));
    form.resize(static_cast<size_t>(size));
  }
  const bool stays = form.size() == 1 && form[0] == static_cast<int32_t>(code_point);
  return stays ? Role::kInert : Role::kActive;
}

// What a canonical decomposition has after its first code point may compose with what it follows.
void UnicodeForm::MarkCompositionTails() {
  std::array<int32_t, kMaxDecomposition> form;
  for (char32_t c = 0x80; c < kTableSize; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    int boundary = 0;
    const ptrdiff_t size = utf8proc_decompose_char(
        static_cast<int32_t>(c), form.data(), kMaxDecomposition,
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
    for (ptrdiff_t i = 1; i < size; ++i) {
      if (form[i] < static_cast<int32_t>(kTableSize)) roles_[form[i]] = Role::kActive;
    }
  }
}

UnicodeForm::Role UnicodeForm::RoleOf(char32_t code_point) const {
  if (code_point < kTableSize) return roles_[code_point];
  return IsUnknownToNormalizers(code_point) ? Role::kUnknown : Role::kActive;
}

void UnicodeForm::Append(std::string_view text, std::string& output) const {
  size_t done = 0;      // what lies before it is in the output
  size_t previous = 0;  // where the last code point begins, or its end if nothing can join it
  for (size_t i = 0; i < text.size();) {
    if (const size_t ascii = AsciiPrefixLength(text.substr(i)); ascii > 0) {
      i += ascii;
      previous = i - 1;
      continue;
    }
    CodePoint c = FirstCodePoint(text.substr(i));
    const Role role = RoleOf(c.value);
    if (role != Role::kActive) {
      previous = role == Role::kInert ? i : i + c.length;
      i += c.length;
      continue;
    }
    const size_t begin = previous;
    while (i < text.size()) {
      c = FirstCodePoint(text.substr(i));
      if (RoleOf(c.value) != Role::kActive) break;
      i += c.length;
    }
    output += text.substr(done, begin - done);
    AppendSpan(text.substr(begin, i - begin), output);
    done = previous = i;
  }
  output += text.substr(done);
}

void UnicodeForm::AppendSpan(std::string_view span, std::string& output) const {
  std::vector<int32_t> code_points;
  code_points.reserve(span.size());
  while (!span.empty()) {
    const CodePoint c = FirstCodePoint(span);
    AppendDecomposed(c.value, code_points);
    span.remove_prefix(c.length);
  }
  OrderMarks(code_points);
  const ptrdiff_t size =
      utf8proc_normalize_utf32(code_points.data(), static_cast<ptrdiff_t>(code_points.size()),
                               static_cast<utf8proc_option_t>(options_));
  QUIRE_CHECK(size >= 0) << utf8proc_errmsg(size);
  for (ptrdiff_t i = 0; i < size; ++i) AppendUtf8(static_cast<char32_t>(code_points[i]), output);
}

void UnicodeForm::AppendDecomposed(char32_t code_point, std::vector<int32_t>& code_points) const {
  std::array<int32_t, kMaxDecomposition> form;
  int boundary = 0;
  const ptrdiff_t size =
      utf8proc_decompose_char(static_cast<int32_t>(code_point), form.data(), kMaxDecomposition,
                              static_cast<utf8proc_option_t>(options_), &boundary);
  QUIRE_CHECK(size >= 0 && size <= static_cast<ptrdiff_t>(kMaxDecomposition));
  code_points.insert(code_points.end(), form.begin(), form.begin() + size);
}

bool IsCombiningMark(char32_t code_point) {
  if (code_point < 0x300) return false;
  if (code_point == 0x1CF2 || code_point == 0x1CF3) return true;  // letters since Unicode 12
  const utf8proc_category_t category = utf8proc_category(static_cast<int32_t>(code_point));
  const bool is_mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                       category == UTF8PROC_CATEGORY_ME;
  return is_mark && !IsUnknownToNormalizers(code_point);
}

void AppendLowercase(std::string_view text, std::string& output) {
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    text.remove_prefix(c.length);
    if (c.value == 0x130) {  // the only one whose lower case has two code points
      output += "i\xCC\x87";
      continue;
    }
    const auto added = std::find_if(AddedCapitals().begin(), AddedCapitals().end(),
                                    [&](const auto& range) { return Holds(range, c.value); });
    const char32_t lower = added == AddedCapitals().end()
                               ? utf8proc_tolower(static_cast<int32_t>(c.value))
                               : added->lower + (c.value - added->first);
    AppendUtf8(lower, output);
  }
}

}  // namespace quire
