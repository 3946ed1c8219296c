#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/split_regex.h"

namespace quire {

// One step of pre-tokenization, applied to every piece that the step before it left.
struct PreTokenizerStage {
  bool add_prefix_space = false;  // before splitting, where the piece does not begin with a space
  std::string pattern;            // cuts the piece at its matches; empty: no cut
};

// The expression GPT-2 splits text with, in ByteLevel's use_regex form.
extern const char kGpt2Pattern[];

// Cuts text into the pieces that byte-pair merges must not cross. Immutable, so any thread may use
// it.
class PreTokenizer {
 public:
  static absl::StatusOr<PreTokenizer> Build(const std::vector<PreTokenizerStage>& stages);

  // Hands `sink` the non-empty pieces of well-formed UTF-8 in order. A piece lives for the call.
  using Sink = absl::FunctionRef<absl::Status(std::string_view)>;
  absl::Status Split(std::string_view text, Sink sink) const;

 private:
  struct Stage {
    bool add_prefix_space;
    std::optional<SplitRegex> regex;
  };

  absl::Status RunFrom(size_t stage, std::string_view piece, Sink sink) const;

  std::vector<Stage> stages_;
};

}  // namespace quire
