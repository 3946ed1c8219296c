#pragma once

#include <cstddef>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "core/text/split_regex.h"

namespace quire {

// What a Split does with the matches of its pattern. The examples split "a--b" at "-".
enum class SplitBehavior {
  kIsolated,            // a, -, -, b
  kRemoved,             // a, b
  kContiguous,          // a, --, b
  kMergedWithPrevious,  // a-, -, b
  kMergedWithNext,      // a, -, -b
};

// Hands `sink` the non-empty pieces of `text` in order; each is a part of `text`. With `invert` the
// text between the matches is what counts as matched.
absl::Status SplitText(std::string_view text, const SplitRegex& regex, SplitBehavior behavior,
                       bool invert, absl::FunctionRef<absl::Status(std::string_view)> sink);

}  // namespace quire
