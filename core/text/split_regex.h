#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire {

// A compiled pattern that is searched for in text. Immutable, so any thread may use it; movable.
class SplitRegex {
 public:
  // `pattern` is in Oniguruma's syntax: see TranslateOnigurumaPattern. A pattern that is
  // unsupported, longer than 16 KiB or able to match nothing is an InvalidArgument error.
  static absl::StatusOr<SplitRegex> Compile(std::string_view pattern);

  // A pattern in PCRE2's own syntax, for the sets of core/text/regex_translation.h. It must
  // compile.
  static SplitRegex FromPcre2(std::string_view pattern);

  // Calls `sink` with the borders of each match in well-formed UTF-8, in order. InvalidArgument
  // where matching would pass PCRE2's limits on backtracking and memory.
  using Sink = absl::FunctionRef<absl::Status(size_t begin, size_t end)>;
  absl::Status ForEachMatch(std::string_view text, Sink sink) const;

 private:
  struct Compiled;
  struct Deleter {
    void operator()(Compiled* compiled) const;
  };

  explicit SplitRegex(std::unique_ptr<Compiled, Deleter> compiled);
  static absl::StatusOr<SplitRegex> CompileTranslated(std::string_view pattern);

  std::unique_ptr<Compiled, Deleter> compiled_;
};

}  // namespace quire
