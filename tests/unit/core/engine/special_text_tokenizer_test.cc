#include "core/engine/special_text_tokenizer.h"

#include "core/text/incremental_detokenizer.h"
#include "gtest/gtest.h"
#include "tests/unit/server/byte_tokenizer.h"

namespace quire {
namespace {

using server::ByteTokenizer;

TEST(SpecialTextTokenizerTest, SpecialTokensHaveTheirNamesAsTextAndNothingElseChanges) {
  const ByteTokenizer base;
  const SpecialTextTokenizer tokenizer(base);
  EXPECT_EQ(tokenizer.TokenBytes(ByteTokenizer::kEnd), "<end>");
  for (TokenId id : {0, 65, 255, 257, -1}) EXPECT_EQ(tokenizer.TokenBytes(id), base.TokenBytes(id));
  EXPECT_TRUE(tokenizer.IsSpecial(ByteTokenizer::kEnd));
  EXPECT_EQ(tokenizer.vocab_size(), base.vocab_size());
  EXPECT_EQ(*tokenizer.Encode("a<end>", {}), *base.Encode("a<end>", {}));
}

TEST(SpecialTextTokenizerTest, TextThatComesInPiecesIsTheDecodeOfAll) {
  const ByteTokenizer base;
  const SpecialTextTokenizer tokenizer(base);
  const std::vector<TokenId> ids = {'a', ByteTokenizer::kEnd, 0xC3, 0xA4, ByteTokenizer::kEnd};
  IncrementalDetokenizer detokenizer(tokenizer);
  std::string text;
  for (TokenId id : ids) {
    detokenizer.Append(id);
    text += detokenizer.TakeText(0);
  }
  text += detokenizer.Finish(0);
  EXPECT_EQ(text, base.Decode(ids, /*skip_special_tokens=*/false));
}

}  // namespace
}  // namespace quire
