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

namespace quire {

// Turns text into token ids and back, with the ids the Hugging Face `tokenizers` library gives.
// Immutable after construction, so every method may be called from any thread at once. Views that
// it returns live as long as it does.
class Tokenizer {
 public:
  struct EncodeOptions {
    // Adds what the model's template puts around a text, such as a beginning-of-sequence token.
    bool add_special_tokens = true;
    // A special token's name in the text becomes that token. Turn it off for text that must not
    // forge one; added tokens that are not special are recognised either way.
    bool parse_special = true;
  };

  virtual ~Tokenizer() = default;

  // InvalidArgument where `text` is not well-formed UTF-8 or is 2 GiB or more.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                                      const EncodeOptions& options) const = 0;

  // The raw bytes a token adds to the output; they may end within a code point. Empty for special
  // tokens and for ids without a token.
  virtual std::string_view TokenBytes(TokenId id) const = 0;

  virtual bool IsSpecial(TokenId id) const = 0;

  // Ill-formed UTF-8 becomes U+FFFD; ids without a token are left out.
  virtual std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const = 0;

  // One more than the largest id that has a token. A model's logits may be wider.
  virtual int32_t vocab_size() const = 0;
};

// What a tokenizer.json may be at most; more is an InvalidArgument error.
struct TokenizerLimits {
  size_t max_file_bytes = size_t{64} << 20;
  int32_t max_vocab_size = 1 << 22;
};

// Reads tokenizer.json in `model_dir`. NotFound where there is none; InvalidArgument with the
// component's name where the file is malformed or asks for something that Quire does not
// implement, since ignoring it would give wrong ids.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model_dir,
                                                         const TokenizerLimits& limits = {});

}  // namespace quire
