#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

// Rewrites a regular expression written for Oniguruma with Ruby syntax, the engine behind the
// `tokenizers` library, as one that PCRE2 (UTF | UCP) reads in the same sense. Accepts the subset
// in which the two are known to agree after rewriting \s, \S and \p{...}; everything else, e.g.
// `^`, \w, \h or && in a class, is an InvalidArgument error that names the construct.
absl::StatusOr<std::string> TranslateOnigurumaPattern(std::string_view pattern);

}  // namespace quire
