#pragma once

#include <cstdint>
#include <span>

namespace quire {

// Code points that Unicode 15 and 16 assigned, with their general category. PCRE2 10.42 has the
// tables of Unicode 14; the `tokenizers` library, whose splits we reproduce, has those of
// Unicode 16. With a newer PCRE2 the ranges are redundant and harmless.
struct UnicodeAddition {
  uint32_t first;
  uint32_t last;
  const char* category;
};

std::span<const UnicodeAddition> UnicodeAdditions();

}  // namespace quire
