#pragma once

#include <string>
#include <vector>

#include "core/text/tokenizer.h"

namespace quire::server {

// A vocabulary of the 256 bytes, in which an id is its byte, and one special token: 256, spelled
// "<end>". With special tokens, every text begins with it.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kEnd = 256;

  ByteTokenizer() {
    for (int i = 0; i < 256; ++i) bytes_.push_back(std::string(1, static_cast<char>(i)));
  }

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (options.add_special_tokens) ids.push_back(kEnd);
    while (!text.empty()) {
      if (options.parse_special && text.substr(0, 5) == "<end>") {
        ids.push_back(kEnd);
        text.remove_prefix(5);
      } else {
        ids.push_back(static_cast<unsigned char>(text.front()));
        text.remove_prefix(1);
      }
    }
    return ids;
  }
  std::string_view TokenBytes(TokenId id) const override {
    return id >= 0 && id < kEnd ? std::string_view(bytes_[static_cast<size_t>(id)])
                                : std::string_view();
  }
  bool IsSpecial(TokenId id) const override { return id == kEnd; }
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    std::string text;
    for (TokenId id : ids) {
      text += id == kEnd && !skip_special_tokens ? std::string_view("<end>") : TokenBytes(id);
    }
    return text;
  }
  int32_t vocab_size() const override { return kEnd + 1; }

 private:
  std::vector<std::string> bytes_;
};

}  // namespace quire::server
