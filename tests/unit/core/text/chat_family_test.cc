#include "core/text/chat_family.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::nlohmann::json;

// Bytes and `marks`, each of them a special token.
std::unique_ptr<BpeTokenizer> TokenizerWith(std::span<const std::string_view> marks) {
  json tokenizer = testing::Gpt2Json({});
  TokenId id = 256;
  for (std::string_view mark : marks) {
    tokenizer["added_tokens"].push_back(testing::AddedTokenJson(id++, std::string(mark), true));
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

}  // namespace
}  // namespace quire
