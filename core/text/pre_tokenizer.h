#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/split_behavior.h"
#include "core/text/split_regex.h"

namespace quire {

// Cuts a piece at the matches of a pattern.
struct SplitStage {
  enum class Syntax { kOniguruma, kLiteral, kPcre2 };
  Syntax syntax = Syntax::kOniguruma;
  std::string pattern;  // not empty
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};

// Puts a space before a piece that does not begin with one.
struct PrefixSpaceStage {};

// Writes spaces as `replacement` and cuts before each (SentencePiece's way).
struct MetaspaceStage {
  enum class Prepend { kAlways, kFirst, kNever };  // kFirst: only where the text begins
  std::string replacement;                         // one code point
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};

using PreTokenizerStage = std::variant<SplitStage, PrefixSpaceStage, MetaspaceStage>;

// The expression GPT-2 splits text with, in ByteLevel's use_regex form.
extern const char kGpt2Pattern[];

// Cuts text into the pieces that merges must not cross. Immutable, so any thread may use it.
class PreTokenizer {
 public:
  static absl::StatusOr<PreTokenizer> Build(const std::vector<PreTokenizerStage>& stages);

  // Hands `sink` the non-empty pieces of well-formed UTF-8 in order. A piece lives for the call.
  // What begins in the first `front` bytes counts as the original text's beginning.
  using Sink = absl::FunctionRef<absl::Status(std::string_view)>;
  absl::Status Split(std::string_view text, size_t front, Sink sink) const;

 private:
  struct CompiledSplit {
    SplitRegex regex;
    SplitBehavior behavior;
    bool invert;
  };
  using Stage = std::variant<CompiledSplit, PrefixSpaceStage, MetaspaceStage>;

  static absl::StatusOr<CompiledSplit> CompileSplit(const SplitStage& stage);
  absl::Status RunFrom(size_t stage, std::string_view piece, size_t front, Sink sink) const;
  absl::Status RunMetaspace(size_t stage, std::string_view piece, size_t front, Sink sink) const;
  absl::Status RunPrefixSpace(size_t stage, std::string_view piece, size_t front, Sink sink) const;

  std::vector<Stage> stages_;
};

}  // namespace quire
