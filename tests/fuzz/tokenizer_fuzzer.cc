#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/check.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/incremental_detokenizer.h"
#include "core/text/sentencepiece_tokenizer.h"
#include "core/text/tokenizer_config.h"
#include "core/text/utf8.h"

// The first byte says whether the rest is a tokenizer.json or a tokenizer.model.

namespace quire {
namespace {

constexpr std::string_view kTexts[] = {"", "Hello, world!  12 apples\n",
                                       "\xc3\xa9\xf0\x9f\x99\x82 <s>[INST]\t", "aaaaaaaaaaaaaaaa"};

std::string DecodedInSteps(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  IncrementalDetokenizer steps(tokenizer, IncrementalDetokenizer::Position::kTextStart);
  std::string text;
  for (const TokenId id : ids) {
    steps.Append(id);
    text += steps.TakeText(/*hold_back_bytes=*/0);
    QUIRE_CHECK(IsValidUtf8(text));
  }
  return text + steps.Finish(/*trim_bytes=*/0);
}

void EncodeAndDecode(const Tokenizer& tokenizer, std::string_view text,
                     const Tokenizer::EncodeOptions& options) {
  const auto ids = tokenizer.Encode(text, options);
  if (!ids.ok()) return;
  for (const TokenId id : *ids) QUIRE_CHECK(id >= 0 && id < tokenizer.vocab_size()) << id;
  QUIRE_CHECK(IsValidUtf8(tokenizer.Decode(*ids, false)));
  QUIRE_CHECK(DecodedInSteps(tokenizer, *ids) == tokenizer.Decode(*ids, true));
}

void Use(const Tokenizer& tokenizer) {
  for (const std::string_view text : kTexts) {
    EncodeAndDecode(tokenizer, text, {});
    EncodeAndDecode(tokenizer, text, {.parse_special = false});
    // Ends within the name of a special token.
    const Tokenizer::ByteRange literal = {0, text.size() / 2};
    if (!text.empty()) EncodeAndDecode(tokenizer, text, {.literal = std::span(&literal, 1)});
  }
}

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 2 == 0) {
    const auto tokenizer = quire::BpeTokenizer::FromJson(rest, {});
    if (tokenizer.ok()) quire::Use(**tokenizer);
  } else {
    const auto tokenizer = quire::SentencePieceTokenizer::FromModel(rest, {}, {});
    if (tokenizer.ok()) quire::Use(**tokenizer);
  }
  return 0;
}
