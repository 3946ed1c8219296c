#pragma once

#include <memory>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire {

// A compiled pattern that cuts text into its matches and what lies between them, the behaviour
// "Isolated" of the `tokenizers` library. Immutable, so any thread may use it; movable.
class SplitRegex {
 public:
  // `pattern` is in Oniguruma's syntax: see TranslateOnigurumaPattern. A pattern that is
  // unsupported, longer than 16 KiB or able to match nothing is an InvalidArgument error.
  static absl::StatusOr<SplitRegex> Compile(std::string_view pattern);

  using Sink = absl::FunctionRef<absl::Status(std::string_view)>;

  // Hands `sink` the non-empty pieces of well-formed UTF-8 in order; together they are the text.
  // InvalidArgument where matching would pass PCRE2's limits on backtracking and memory.
  absl::Status Split(std::string_view text, Sink sink) const;

 private:
  struct Compiled;
  struct Deleter {
    void operator()(Compiled* compiled) const;
  };

  explicit SplitRegex(std::unique_ptr<Compiled, Deleter> compiled);

  std::unique_ptr<Compiled, Deleter> compiled_;
};

}  // namespace quire
