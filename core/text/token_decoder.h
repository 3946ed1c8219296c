#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/text/split_regex.h"
#include "core/text/utf8.h"

namespace quire {

// What the beginning of a text loses when tokens become text.
struct LeadingStrip {
  enum class Rule {
    kNothing,
    kCopies,           // up to `count` copies of `content`
    kFirstToken,       // the first token has other bytes there: see TokenTable
    kTokensUntilText,  // so has every token until one adds something; until `count` were changed
  };
  Rule rule = Rule::kNothing;
  std::string content;
  size_t count = 0;
};

// A tokenizer.json's decoder, reduced to what works token by token.
struct DecoderSpec {
  struct TokenStep {
    enum class Kind {
      kReplaceString,  // every `pattern` by `content`
      kReplaceRegex,
      kStripLeft,  // up to `count` copies of `content`
    };
    Kind kind;
    std::string pattern;
    std::string content;
    size_t count = 0;
  };
  bool byte_level = false;       // tokens are spelled in the byte alphabet; nothing else is set
  bool byte_fallback = false;    // tokens <0x00> to <0xFF> are bytes
  std::vector<TokenStep> steps;  // before byte_fallback
  LeadingStrip leading;

  IllFormed ill_formed() const {
    return byte_fallback ? IllFormed::kEachByte : IllFormed::kMaximalSubpart;
  }
};

// The byte that a token of byte fallback stands for: "<0x0A>" is a line feed.
std::optional<char> FallbackByte(std::string_view token);

// Turns a token as a vocabulary spells it into the bytes it adds to a text. Only used while a
// tokenizer is built.
class TokenDecoder {
 public:
  static absl::StatusOr<TokenDecoder> Build(const DecoderSpec& spec);

  // InvalidArgument where they would be more than 16 times the token and 4096 bytes.
  absl::StatusOr<std::string> BytesOf(std::string_view token) const;

  // Those that the token adds at the beginning of a text under the rule kFirstToken, where every
  // copy of the rule's content falls out of the token.
  absl::StatusOr<std::string> FirstBytesOf(std::string_view token) const;

 private:
  struct Step {
    DecoderSpec::TokenStep spec;
    std::unique_ptr<const SplitRegex> regex;
  };

  DecoderSpec spec_;
  std::vector<Step> steps_;
};

}  // namespace quire
