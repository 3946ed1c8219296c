#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::quire::testing::AddedTokenJson;
using ::quire::testing::Gpt2Json;
using ::quire::testing::MustLoad;

TEST(TokenizerThreadsTest, ThreadsMayEncodeAtOnce) {
  nlohmann::json json = Gpt2Json({{"h", "i"}, {" ", "hi"}});
  json["added_tokens"] = nlohmann::json::array({AddedTokenJson(258, "<s>", true)});
  const auto tokenizer = MustLoad(json);
  const std::string text = "<s>hi hi, \xC3\xA9\xC3\xA9 12'll";
  const auto expected = tokenizer->Encode(text, {});
  ASSERT_TRUE(expected.ok()) << expected.status();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        const auto ids = tokenizer->Encode(text, {});
        if (!ids.ok() || *ids != *expected) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace quire
