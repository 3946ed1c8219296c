#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire {

// One step of a tokenizer.json's normalizer.
struct NormalizerStage {
  enum class Kind {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kPrepend,        // `content` before a text that is not empty
    kReplaceString,  // every `pattern` by `content`
    kReplaceRegex,   // every match of `pattern` by `content`, literally
    kStrip,          // white space, at the sides named
    kStripAccents,
    kLowercase,
  };
  Kind kind;
  std::string pattern;
  std::string content;
  bool left = false;
  bool right = false;
};

// Rewrites a text before it is split. Immutable, so any thread may use it.
class Normalizer {
 public:
  static absl::StatusOr<Normalizer> Build(const std::vector<NormalizerStage>& stages);

  bool empty() const { return steps_.empty(); }

  struct Result {
    std::string text;
    // So many bytes at its beginning stand for the first code point of the original text; 0 where
    // that was removed. A pre-tokenizer may treat the pieces that begin in them as the text's
    // first.
    size_t front = 0;
  };

  // Of well-formed UTF-8 below 2 GiB. InvalidArgument where a pattern takes too long to match, or
  // where the text would become more than 16 times as long or pass 2 GiB.
  absl::StatusOr<Result> Normalize(std::string_view text) const;

  // Rewrites one text, of which `front` bytes have Result's meaning, into an empty result, and may
  // stop early once that is over `max_bytes`.
  class Step {
   public:
    virtual ~Step() = default;
    virtual absl::Status Apply(std::string_view input, size_t front, size_t max_bytes,
                               Result& result) const = 0;
  };

 private:
  std::vector<std::unique_ptr<const Step>> steps_;
};

}  // namespace quire
