#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/text/tokenizer.h"

// The demo model's tokenizer against what the Hugging Face `tokenizers` library made of the same
// texts and ids: see tests/golden/data/README.md.

namespace quire {
namespace {

using ::nlohmann::json;

constexpr char kModelDir[] = QUIRE_SOURCE_DIR "/deploy/models/quire-demo";
constexpr char kDataDir[] = QUIRE_SOURCE_DIR "/tests/golden/data/";

std::unique_ptr<Tokenizer> DemoTokenizer() {
  auto tokenizer = LoadTokenizer(kModelDir);
  QUIRE_CHECK(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<json> ReadRows(const std::string& file) {
  std::ifstream stream(kDataDir + file);
  std::vector<json> rows;
  for (std::string line; std::getline(stream, line);) rows.push_back(json::parse(line));
  return rows;
}

void ExpectEncodes(const Tokenizer& tokenizer, const json& row, const char* key,
                   const Tokenizer::EncodeOptions& options) {
  const auto ids = tokenizer.Encode(row["text"].get<std::string>(), options);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, row[key].get<std::vector<TokenId>>()) << key;
}

TEST(TokenizerGoldenTest, TextsBecomeTheIdsOfTheReference) {
  const auto tokenizer = DemoTokenizer();
  const std::vector<json> rows = ReadRows("tokenizer_demo.jsonl");
  ASSERT_GT(rows.size(), 100u);
  for (const json& row : rows) {
    SCOPED_TRACE(row["text"].dump());
    ExpectEncodes(*tokenizer, row, "ids", {.add_special_tokens = false});
    ExpectEncodes(*tokenizer, row, "ids_special", {});
    ExpectEncodes(*tokenizer, row, row.contains("ids_plain") ? "ids_plain" : "ids",
                  {.add_special_tokens = false, .parse_special = false});
    EXPECT_EQ(tokenizer->Decode(row["ids_special"].get<std::vector<TokenId>>(), true),
              row["decoded"].get<std::string>());
  }
}

TEST(TokenizerGoldenTest, ArbitraryIdsBecomeTheTextOfTheReference) {
  const auto tokenizer = DemoTokenizer();
  const std::vector<json> rows = ReadRows("tokenizer_demo_decode.jsonl");
  ASSERT_GT(rows.size(), 100u);
  for (const json& row : rows) {
    SCOPED_TRACE(row["ids"].dump());
    const auto ids = row["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->Decode(ids, true), row["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer->Decode(ids, false), row["decoded_special"].get<std::string>());
  }
}

}  // namespace
}  // namespace quire
