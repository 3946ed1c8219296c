#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "core/base/ids.h"
#include "core/text/byte_trie.h"
#include "core/text/split_regex.h"
#include "core/text/tokenizer.h"

namespace quire {

// A token that is found in the text before any pre-tokenization.
struct AddedToken {
  TokenId id = 0;
  std::string content;  // not empty
  bool special = false;
  bool normalized = false;   // looked for in normalized text, between the tokens that are not
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // swallows the white space after it
  bool single_word = false;  // not where a word character touches it
};

// What of `ranges`, which are ascending and apart, lies in [begin, end), counted from `begin`.
std::vector<Tokenizer::ByteRange> RangesWithin(std::span<const Tokenizer::ByteRange> ranges,
                                               size_t begin, size_t end);

// Finds added tokens in text. Immutable, so any thread may use it.
class AddedTokenMatcher {
 public:
  // Of tokens with the same content the first counts.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  bool has_special() const { return has_special_; }

  struct Sink {
    absl::FunctionRef<absl::Status(std::string_view)> on_text;  // a part of the text
    absl::FunctionRef<void(TokenId)> on_token;
  };

  // Cuts well-formed UTF-8 into added tokens and the non-empty text between them, in order. Special
  // tokens stay text where `parse_special` is off, and where they touch one of the `literal` ranges
  // (see Tokenizer::EncodeOptions); the others stay text where they cross a border of one. Cost:
  // text length times the longest token.
  absl::Status Split(std::string_view text, bool parse_special, const Sink& sink,
                     std::span<const Tokenizer::ByteRange> literal = {}) const;

 private:
  using Ranges = std::span<const Tokenizer::ByteRange>;
  struct Match {
    size_t begin = 0;
    size_t end = 0;
    int32_t token = ByteTrie::kNone;  // index into tokens_
  };

  // The first place where a token is that `literal` allows; of those that match there the longest.
  Match FindFrom(std::string_view text, size_t begin, Ranges literal) const;
  Match LongestAt(std::string_view text, size_t begin, Ranges literal) const;
  bool TouchesWord(std::string_view text, const Match& match) const;

  std::vector<AddedToken> tokens_;
  bool has_special_;
  ByteTrie trie_;
  std::array<bool, 256> starts_{};  // whether a token begins with the byte
  std::optional<SplitRegex> word_;  // where a token needs it
};

}  // namespace quire
