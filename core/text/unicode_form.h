#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quire {

// A Unicode normalization form (UAX #15) over utf8proc's tables, restricted to the Unicode version
// of the `tokenizers` library (see unicode_differences.h). Immutable, so any thread may use it.
class UnicodeForm {
 public:
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd };

  explicit UnicodeForm(Kind kind);

  // Appends the form of well-formed UTF-8. O(n log n) in the worst case, a run of combining marks.
  void Append(std::string_view text, std::string& output) const;

 private:
  enum class Role : uint8_t {
    kActive,   // changes, or may join or pass what stands before it
    kInert,    // stays; what follows may join it
    kUnknown,  // stays, and nothing joins it
  };

  Role RoleOf(char32_t code_point) const;
  Role FindRole(char32_t code_point) const;
  void MarkCompositionTails();
  void AppendSpan(std::string_view span, std::string& output) const;
  void AppendDecomposed(char32_t code_point, std::vector<int32_t>& code_points) const;

  int options_;              // utf8proc's
  std::vector<Role> roles_;  // by code point, those beyond are active
};

// As StripAccents sees it: whether the code point is a combining mark.
bool IsCombiningMark(char32_t code_point);

// Appends the lower case of well-formed UTF-8, code point by code point.
void AppendLowercase(std::string_view text, std::string& output);

}  // namespace quire
