#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/model/gguf_tokenizer.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/sentencepiece_tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/gguf_builder.h"
#include "tests/unit/core/model/safetensors_builder.h"

// Tokenizers in the metadata of GGUF files: those of tokenizer.json files, put into such a file,
// against what they were made of, and a SentencePiece one by hand.

namespace quire::testing {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;

constexpr char kDemoTokenizer[] = QUIRE_SOURCE_DIR "/deploy/models/quire-demo/tokenizer.json";
constexpr char kDemoTexts[] = QUIRE_SOURCE_DIR "/tests/golden/data/tokenizer_demo.jsonl";

GgufTokenizerFiles FilesOf(const GgufBuilder& builder) {
  const std::string bytes = builder.Bytes();
  const auto file = ParseGguf(AsBytes(bytes), "m.gguf");
  QUIRE_CHECK(file.ok()) << file.status();
  auto files = ReadGgufTokenizer(*file, "m.gguf");
  QUIRE_CHECK(files.ok()) << files.status();
  return *std::move(files);
}

// The vocabulary, merges and special tokens of a tokenizer.json.
GgufBuilder MetadataOf(const std::string& path, const char* pre) {
  const json root = json::parse(std::ifstream(path));
  size_t count = root["model"]["vocab"].size();
  for (const json& token : root["added_tokens"]) {
    count = std::max(count, token["id"].get<size_t>() + 1);
  }
  std::vector<std::string> tokens(count);
  std::vector<uint32_t> types(count, 1);
  for (const auto& [token, id] : root["model"]["vocab"].items()) tokens.at(id) = token;
  for (const json& token : root["added_tokens"]) {
    tokens.at(token["id"]) = token["content"];
    types.at(token["id"]) = token["special"] == true ? 3 : 4;
  }
  std::vector<std::string> merges;
  for (const json& pair : root["model"]["merges"]) {
    merges.push_back(pair.is_string()
                         ? pair.get<std::string>()
                         : pair[0].get<std::string>() + " " + pair[1].get<std::string>());
  }
  GgufBuilder builder;
  builder.String("tokenizer.ggml.model", "gpt2").String("tokenizer.ggml.pre", pre);
  builder.Strings("tokenizer.ggml.tokens", tokens).Uint32s("tokenizer.ggml.token_type", types);
  return builder.Strings("tokenizer.ggml.merges", merges);
}

std::vector<json> DemoRows() {
  std::vector<json> rows;
  std::ifstream stream(kDemoTexts);
  for (std::string line; std::getline(stream, line);) rows.push_back(json::parse(line));
  QUIRE_CHECK(rows.size() > 400);
  return rows;
}

TEST(GgufTokenizerGoldenTest, EncodesLikeTheTokenizerItWasMadeOf) {
  GgufBuilder builder = MetadataOf(kDemoTokenizer, "gpt-2");
  builder.Uint32("tokenizer.ggml.bos_token_id", 0).Bool("tokenizer.ggml.add_bos_token", true);
  const GgufTokenizerFiles files = FilesOf(builder);
  EXPECT_TRUE(files.tokenizer_model.empty());
  const auto tokenizer = BpeTokenizer::FromJson(files.tokenizer_json, {});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const json& row : DemoRows()) {
    const std::string text = row["text"];
    EXPECT_EQ(*(*tokenizer)->Encode(text, {.add_special_tokens = false}),
              row["ids"].get<std::vector<TokenId>>())
        << text;
    const auto with_first = (*tokenizer)->Encode(text, {});
    EXPECT_EQ(*with_first, row["ids_special"].get<std::vector<TokenId>>()) << text;
    EXPECT_EQ((*tokenizer)->Decode(*with_first, true), row["decoded"].get<std::string>());
  }
}

TEST(GgufTokenizerGoldenTest, SplitsTextsAsTheNameInTheFileSays) {
  struct Case {
    const char* folder;
    const char* pre;
  };
  for (const Case& c :
       {Case{"llama3", "llama-bpe"}, Case{"qwen2", "qwen2"}, Case{"smollm", "smollm"}}) {
    const std::string path =
        absl::StrCat(QUIRE_SOURCE_DIR "/tests/golden/data/tokenizers/", c.folder);
    const auto original = LoadTokenizer(path);
    ASSERT_TRUE(original.ok()) << original.status();
    GgufBuilder builder = MetadataOf(path + "/tokenizer.json", c.pre);
    builder.Bool("tokenizer.ggml.add_bos_token", false);
    const auto made = BpeTokenizer::FromJson(FilesOf(builder).tokenizer_json, {});
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ((*made)->vocab_size(), (*original)->vocab_size());
    std::set<TokenId> normalized;
    const json root = json::parse(std::ifstream(path + "/tokenizer.json"));
    for (const json& token : root["added_tokens"]) {
      if (token["normalized"] == true) normalized.insert(token["id"].get<TokenId>());
    }
    size_t compared = 0;
    for (const json& row : DemoRows()) {
      const std::string text = row["text"];
      const std::vector<TokenId> ids = *(*original)->Encode(text, {.add_special_tokens = false});
      // The format does not tell which tokens are looked for in the normalized text.
      const auto is_normalized = [&](TokenId id) { return normalized.contains(id); };
      if (std::any_of(ids.begin(), ids.end(), is_normalized)) continue;
      ++compared;
      EXPECT_EQ(*(*made)->Encode(text, {.add_special_tokens = false}), ids)
          << c.pre << ": " << text;
    }
    EXPECT_GT(compared, 400u);
  }
}

// Scores decide: "ab" before "bc".
GgufBuilder SentencePieceMetadata() {
  GgufBuilder builder;
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<uint32_t> types = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  const auto add = [&](const std::string& token, uint32_t type, float score) {
    tokens.push_back(token);
    types.push_back(type);
    scores.push_back(score);
  };
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    add(text, 6, 0);
  }
  add("ab", 1, -1);  // 259
  add("bc", 1, -2);  // 260
  add("\xE2\x96\x81"
      "ab",
      1, -3);                  // 261
  add("\xE2\x96\x81", 1, -4);  // 262
  add("a", 1, -5);             // 263
  add("b", 1, -6);             // 264
  add("c", 1, -7);             // 265
  add("<turn>", 4, 0);         // 266
  builder.String("tokenizer.ggml.model", "llama");
  builder.Strings("tokenizer.ggml.tokens", tokens).Uint32s("tokenizer.ggml.token_type", types);
  builder.Floats("tokenizer.ggml.scores", scores);
  builder.Uint32("tokenizer.ggml.bos_token_id", 1).Uint32("tokenizer.ggml.eos_token_id", 2);
  return builder.String("tokenizer.chat_template", "{{ messages }}");
}

std::vector<TokenId> EncodeWith(const GgufBuilder& builder, const std::string& text) {
  const GgufTokenizerFiles files = FilesOf(builder);
  EXPECT_TRUE(files.tokenizer_json.empty());
  const auto config = ParseTokenizerConfig(files.tokenizer_config, "", {});
  QUIRE_CHECK(config.ok()) << config.status();
  const auto tokenizer = SentencePieceTokenizer::FromModel(files.tokenizer_model, *config, {});
  QUIRE_CHECK(tokenizer.ok()) << tokenizer.status();
  return *(*tokenizer)->Encode(text, {});
}

TEST(GgufTokenizerGoldenTest, MergesByTheScoresOfASentencePieceModel) {
  EXPECT_THAT(EncodeWith(SentencePieceMetadata(), "abc"), ElementsAre(1, 261, 265));
  EXPECT_THAT(EncodeWith(SentencePieceMetadata(), "bc<turn>\n"),
              ElementsAre(1, 262, 260, 266, 3 + '\n'));
  EXPECT_THAT(
      EncodeWith(SentencePieceMetadata().Bool("tokenizer.ggml.add_space_prefix", false), "abc"),
      ElementsAre(1, 259, 265));
  EXPECT_THAT(EncodeWith(SentencePieceMetadata().Bool("tokenizer.ggml.add_bos_token", false), "c"),
              ElementsAre(262, 265));
}

TEST(GgufTokenizerGoldenTest, KeepsSpecialTokensAndTheChatTemplate) {
  const json config = json::parse(FilesOf(SentencePieceMetadata()).tokenizer_config);
  EXPECT_EQ(config["bos_token"], "<s>");
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["chat_template"], "{{ messages }}");
  EXPECT_EQ(config["add_bos_token"], true);
}

}  // namespace
}  // namespace quire::testing
