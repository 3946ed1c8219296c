#include "core/text/chat_family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "core/text/sentencepiece_tokenizer.h"
#include "tests/unit/core/text/test_sentencepiece.h"
#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::nlohmann::json;
using ::testing::HasSubstr;

// Bytes and `marks`, each of them an added token.
std::unique_ptr<BpeTokenizer> TokenizerWith(std::span<const std::string_view> marks,
                                            bool special = true) {
  json tokenizer = testing::Gpt2Json({});
  TokenId id = 256;
  for (std::string_view mark : marks) {
    tokenizer["added_tokens"].push_back(testing::AddedTokenJson(id++, std::string(mark), special));
  }
  return testing::MustLoad(tokenizer);
}

TEST(ChatFamilyTest, EveryFamilyHasANameOfItsOwnThatParses) {
  std::set<std::string> names;
  for (ChatFamily family : AllChatFamilies()) {
    names.emplace(ChatFamilyName(family));
    const auto parsed = ParseChatFamily(ChatFamilyName(family));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, family);
  }
  EXPECT_EQ(names.size(), AllChatFamilies().size());
}

TEST(ChatFamilyTest, AnUnknownNameIsRefusedWithTheListOfNames) {
  const absl::Status status = ParseChatFamily("llama4").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find(ChatFamilyNames()), std::string::npos) << status;
}

TEST(ChatFamilyTest, AModelNeedsEachMarkOfTheFamilyAsOneToken) {
  for (ChatFamily family : AllChatFamilies()) {
    SCOPED_TRACE(ChatFamilyName(family));
    const auto marks = ChatMarks(family);
    EXPECT_TRUE(CheckChatMarks(family, *TokenizerWith(marks)).ok());
    const absl::Status status = CheckChatMarks(family, *TokenizerWith(marks.subspan(1)));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(std::string(status.message()).find(std::string(marks[0])), std::string::npos)
        << status;
  }
}

// Otherwise a user's text would be read as a turn of somebody else.
TEST(ChatFamilyTest, AMarkThatIsNotSpecialIsRefused) {
  const auto marks = ChatMarks(ChatFamily::kGemma);
  const absl::Status status =
      CheckChatMarks(ChatFamily::kGemma, *TokenizerWith(marks, /*special=*/false));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("\"<bos>\" as a special token"));
  EXPECT_THAT(status.message(), HasSubstr("tokenizer.json"));
}

TEST(ChatFamilyTest, APieceOfTextIsNotSaidToBeAbsent) {
  std::vector<testing::Piece> pieces = testing::ReservedPieces();
  for (std::string_view mark : ChatMarks(ChatFamily::kChatMl)) {
    pieces.push_back({std::string(mark), 0, testing::PieceType::kUserDefined});
  }
  pieces.push_back({std::string(kSpaceSymbol), -1});
  const std::string model = testing::ModelBytes(pieces);
  const auto status_with = [&](const TokenizerConfig& config) {
    return CheckChatMarks(ChatFamily::kChatMl,
                          **SentencePieceTokenizer::FromModel(model, config, {}));
  };
  TokenizerConfig config;
  EXPECT_THAT(status_with(config).message(), HasSubstr("but not as a special one"));
  config.added_tokens = {{.id = 3, .content = "<|im_start|>", .special = true},
                         {.id = 4, .content = "<|im_end|>", .special = true}};
  EXPECT_TRUE(status_with(config).ok()) << status_with(config);
}

}  // namespace
}  // namespace quire
