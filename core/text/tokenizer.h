#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/text/utf8.h"

namespace quire {

// Turns text into token ids and back, with the ids that the Hugging Face `tokenizers` library, or
// for a tokenizer.model SentencePiece, gives.
// Immutable after construction, so every method may be called from any thread at once. Views that
// it returns live as long as it does.
class Tokenizer {
 public:
  struct ByteRange {
    size_t begin = 0;
    size_t end = 0;
  };
  struct EncodeOptions {
    // Adds what the model's template puts around a text, such as a beginning-of-sequence token.
    bool add_special_tokens = true;
    // A special token's name in the text becomes that token. Turn it off for text that must not
    // forge one; added tokens that are not special are recognised either way.
    bool parse_special = true;
    // Parts of the text, not empty, ascending and apart, where a special token's name is plain text
    // all the same, also one that only begins or ends there: what users wrote within a prompt of
    // ours. Other added tokens stay within such a part or between two.
    std::span<const ByteRange> literal = {};
  };

  virtual ~Tokenizer() = default;

  // InvalidArgument where `text` is not well-formed UTF-8 or is 2 GiB or more.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                                      const EncodeOptions& options) const = 0;

  // The raw bytes a token adds to the output; they may end within a code point. Empty for special
  // tokens and for ids without a token.
  virtual std::string_view TokenBytes(TokenId id) const = 0;

  // How far the beginning of a text, where some tokenizers drop a space, has been read.
  struct TextStart {
    size_t stripped = 0;
    bool is_over = false;  // from here on TokenBytes holds
  };

  // As TokenBytes, for the tokens from a text's first one on.
  virtual std::string_view BytesAtStart(TokenId id, TextStart& start) const {
    start.is_over = true;
    return TokenBytes(id);
  }

  // How the bytes of tokens, joined, become text.
  virtual IllFormed ill_formed() const { return IllFormed::kMaximalSubpart; }

  virtual bool IsSpecial(TokenId id) const = 0;

  // The text that begins with `ids`. Ill-formed UTF-8 becomes U+FFFD; ids without a token are left
  // out.
  virtual std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;

  // One more than the largest id that has a token. A model's logits may be wider.
  virtual int32_t vocab_size() const = 0;
};

// What a tokenizer's files may be at most; more is an InvalidArgument error.
struct TokenizerLimits {
  size_t max_file_bytes = size_t{64} << 20;
  int32_t max_vocab_size = 1 << 22;
  // That follow from the pieces of a BPE tokenizer.model; Gemma has 600,000.
  size_t max_merges = size_t{1} << 22;
};

// Reads tokenizer.json in `model_dir`, or where there is none SentencePiece's tokenizer.model and
// the special tokens of tokenizer_config.json and added_tokens.json. NotFound where there is
// neither; InvalidArgument with the component's name where a file is malformed or asks for
// something that Quire does not implement, since ignoring it would give wrong ids.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_dir,
                                                         const TokenizerLimits& limits = {});

}  // namespace quire
