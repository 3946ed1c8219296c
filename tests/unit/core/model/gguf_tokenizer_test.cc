#include "core/model/gguf_tokenizer.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/gguf_builder.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using ::nlohmann::json;
using testing::AsBytes;
using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;

absl::StatusOr<GgufTokenizerFiles> Read(const GgufBuilder& builder) {
  const std::string bytes = builder.Bytes();
  const auto file = ParseGguf(AsBytes(bytes), "m.gguf");
  if (!file.ok()) return file.status();
  return ReadGgufTokenizer(*file, "m.gguf");
}

GgufBuilder ByteLevel(const char* pre, const std::vector<std::string>& tokens,
                      const std::vector<uint32_t>& types) {
  GgufBuilder builder;
  builder.String("tokenizer.ggml.model", "gpt2").String("tokenizer.ggml.pre", pre);
  builder.Strings("tokenizer.ggml.tokens", tokens).Uint32s("tokenizer.ggml.token_type", types);
  return builder.Strings("tokenizer.ggml.merges", {"a b", "\xC4\xA0 a"});
}
GgufBuilder Tiny() { return ByteLevel("gpt-2", {"a", "b", "ab"}, {1, 1, 1}); }

TEST(ReadGgufTokenizer, WritesWhatEachWayOfSplittingNeeds) {
  struct Case {
    const char* pre;
    size_t stages;
    const char* normalizer;
    bool ignores_merges;
  };
  for (const Case& c : {Case{"gpt-2", 1, nullptr, false}, Case{"smollm", 2, nullptr, false},
                        Case{"llama-bpe", 2, nullptr, true}, Case{"qwen2", 2, "NFC", false}}) {
    const auto files = Read(
        ByteLevel(c.pre, {"a", "b", "ab"}, {1, 1, 1}).Uint32("tokenizer.ggml.bos_token_id", 0));
    ASSERT_TRUE(files.ok()) << files.status();
    const json root = json::parse(files->tokenizer_json);
    EXPECT_EQ(root["pre_tokenizer"]["pretokenizers"].size(), c.stages) << c.pre;
    EXPECT_EQ(root["model"]["ignore_merges"], c.ignores_merges) << c.pre;
    EXPECT_EQ(root["normalizer"].is_null(), c.normalizer == nullptr) << c.pre;
    // Llama 3 files leave it to the reader to put the first token before a text.
    EXPECT_EQ(root["post_processor"].is_null(), std::string(c.pre) != "llama-bpe") << c.pre;
    EXPECT_THAT(root["model"]["merges"], ElementsAre(json({"a", "b"}), json({"\xC4\xA0", "a"})));
  }
}

TEST(ReadGgufTokenizer, NumbersSpecialTokensOnBehindTheVocabulary) {
  const auto files = Read(ByteLevel("gpt-2", {"a", "<x>", "b", "<y>", "<filler>", "<z>", "<end>"},
                                    {1, 3, 1, 4, 5, 3, 5}));
  ASSERT_TRUE(files.ok()) << files.status();
  const json root = json::parse(files->tokenizer_json);
  EXPECT_EQ(root["model"]["vocab"], json({{"a", 0}, {"<x>", 1}, {"b", 2}}));
  std::vector<int> ids;
  std::vector<bool> special;
  for (const json& token : root["added_tokens"]) {
    ids.push_back(token["id"]);
    special.push_back(token["special"]);
  }
  EXPECT_THAT(ids, ElementsAre(1, 3, 4, 5));
  EXPECT_THAT(special, ElementsAre(true, false, true, true));
}

TEST(ReadGgufChatConfig, NeedsATemplateAndTheTokensAroundATextAlone) {
  const auto read = [](const GgufBuilder& builder) {
    const std::string bytes = builder.Bytes();
    const auto file = ParseGguf(AsBytes(bytes), "m.gguf");
    const auto config = ReadGgufChatConfig(*file, "m.gguf");
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? json::parse(*config) : json();
  };
  // Whatever the tokenizer is, one beside the file may stand in for it.
  GgufBuilder builder;
  builder.String("tokenizer.ggml.model", "bert").String("tokenizer.ggml.pre", "tekken");
  builder.Strings("tokenizer.ggml.tokens", {"a", "<s>", "a"});
  builder.Uint32("tokenizer.ggml.bos_token_id", 1).Bool("tokenizer.ggml.merges", true);
  EXPECT_EQ(read(builder), json::object());
  builder.String("tokenizer.chat_template", "{{ x }}");
  EXPECT_EQ(read(builder), json({{"bos_token", "<s>"}, {"chat_template", "{{ x }}"}}));
  builder.Uint32("tokenizer.ggml.eos_token_id", 2);
  EXPECT_EQ(read(builder)["eos_token"], "a");
  builder.Remove("tokenizer.ggml.tokens");
  EXPECT_EQ(read(builder), json({{"chat_template", "{{ x }}"}}));
}

TEST(ReadGgufChatConfig, RefusesWhatIsNoTextAndTokensOutside) {
  const auto problem = [](const GgufBuilder& builder) {
    const std::string bytes = builder.Bytes();
    const auto file = ParseGguf(AsBytes(bytes), "m.gguf");
    const absl::Status status = ReadGgufChatConfig(*file, "m.gguf").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(problem(Tiny().String("tokenizer.chat_template", "\xff")),
              HasSubstr("m.gguf: key 'tokenizer.chat_template' must be well-formed UTF-8"));
  EXPECT_THAT(
      problem(
          Tiny().String("tokenizer.chat_template", "x").Uint32("tokenizer.ggml.eos_token_id", 3)),
      HasSubstr("'tokenizer.ggml.eos_token_id' must be an integer in [0, 2], found 3"));
}

struct BadTokenizer {
  const char* name;
  std::function<void(GgufBuilder&)> spoil;
  const char* message;
};

class ReadGgufTokenizerRefuses : public ::testing::TestWithParam<BadTokenizer> {};

TEST_P(ReadGgufTokenizerRefuses, AndNamesTheKey) {
  GgufBuilder builder = Tiny();
  GetParam().spoil(builder);
  const auto files = Read(builder);
  EXPECT_TRUE(absl::IsInvalidArgument(files.status())) << files.status();
  EXPECT_THAT(std::string(files.status().message()), HasSubstr("m.gguf: "));
  EXPECT_THAT(std::string(files.status().message()), HasSubstr(GetParam().message));
}

void Replace(GgufBuilder& builder, const char* key, const std::vector<std::string>& values) {
  builder.Remove(key).Strings(key, values);
}

void UseSentencePiece(GgufBuilder& builder) {
  builder.Remove("tokenizer.ggml.model").String("tokenizer.ggml.model", "llama");
}

INSTANTIATE_TEST_SUITE_P(
    Table, ReadGgufTokenizerRefuses,
    ::testing::Values(
        BadTokenizer{"NoModel", [](GgufBuilder& b) { b.Remove("tokenizer.ggml.model"); },
                     "key 'tokenizer.ggml.model' must be a string, found nothing"},
        BadTokenizer{"AnotherModel",
                     [](GgufBuilder& b) {
                       b.Remove("tokenizer.ggml.model").String("tokenizer.ggml.model", "bert");
                     },
                     "must be \"gpt2\" or \"llama\""},
        BadTokenizer{"NoSplitting", [](GgufBuilder& b) { b.Remove("tokenizer.ggml.pre"); },
                     "'tokenizer.ggml.pre' must be one of those supported, deepseek-r1-qwen, "
                     "gpt-2, llama-bpe, qwen2, smollm"},
        BadTokenizer{"AnotherSplitting",
                     [](GgufBuilder& b) {
                       b.Remove("tokenizer.ggml.pre").String("tokenizer.ggml.pre", "tekken");
                     },
                     "found 'tekken'"},
        BadTokenizer{"NoTokens", [](GgufBuilder& b) { Replace(b, "tokenizer.ggml.tokens", {}); },
                     "'tokenizer.ggml.tokens' must be 1 to"},
        BadTokenizer{"TokenTwice",
                     [](GgufBuilder& b) {
                       Replace(b, "tokenizer.ggml.tokens", {"a", "b", "a"});
                     },
                     "without duplicates, but token 2 is one"},
        BadTokenizer{"TokenThatIsNoText",
                     [](GgufBuilder& b) {
                       Replace(b, "tokenizer.ggml.tokens", {"a", "b", "\xff"});
                     },
                     "'tokenizer.ggml.tokens' must be well-formed UTF-8"},
        BadTokenizer{
            "TypesOfAnotherNumber",
            [](GgufBuilder& b) {
              b.Remove("tokenizer.ggml.token_type").Uint32s("tokenizer.ggml.token_type", {1, 1});
            },
            "'tokenizer.ggml.token_type'"},
        BadTokenizer{
            "UnknownType",
            [](GgufBuilder& b) {
              b.Remove("tokenizer.ggml.token_type").Uint32s("tokenizer.ggml.token_type", {1, 1, 7});
            },
            "'tokenizer.ggml.token_type'"},
        BadTokenizer{"NoMerges", [](GgufBuilder& b) { b.Remove("tokenizer.ggml.merges"); },
                     "'tokenizer.ggml.merges' must be an array of strings"},
        BadTokenizer{"MergeOfOne",
                     [](GgufBuilder& b) {
                       Replace(b, "tokenizer.ggml.merges", {"a b", "ab"});
                     },
                     "but number 1 is none"},
        BadTokenizer{"TooManyMerges",
                     [](GgufBuilder& b) {
                       constexpr uint64_t kCount = (uint64_t{1} << 22) + 1;
                       b.Remove("tokenizer.ggml.merges")
                           .Array("tokenizer.ggml.merges", GgufValueType::kString, kCount,
                                  std::string(8 * kCount, '\0'));
                     },
                     "'tokenizer.ggml.merges' must be an array of at most 4194304 strings"},
        BadTokenizer{"FirstTokenOutside",
                     [](GgufBuilder& b) { b.Uint32("tokenizer.ggml.bos_token_id", 3); },
                     "'tokenizer.ggml.bos_token_id' must be an integer in [0, 2], found 3"},
        BadTokenizer{"FirstTokenMissing",
                     [](GgufBuilder& b) { b.Bool("tokenizer.ggml.add_bos_token", true); },
                     "'tokenizer.ggml.bos_token_id' must be given, since it is to be added"},
        BadTokenizer{"TemplateThatIsNoText",
                     [](GgufBuilder& b) { b.String("tokenizer.chat_template", "\xff"); },
                     "'tokenizer.chat_template' must be well-formed UTF-8"},
        BadTokenizer{"SentencePieceWithoutScores",
                     [](GgufBuilder& b) {
                       UseSentencePiece(b);
                       b.Uint32("tokenizer.ggml.bos_token_id", 0);
                     },
                     "'tokenizer.ggml.scores' must be an array of numbers"},
        BadTokenizer{"SentencePieceWithTooFewScores",
                     [](GgufBuilder& b) {
                       UseSentencePiece(b);
                       b.Uint32("tokenizer.ggml.bos_token_id", 0);
                       b.Floats("tokenizer.ggml.scores", {1, 2});
                     },
                     "a score for each of 3 tokens"}),
    [](const auto& suite) { return std::string(suite.param.name); });

}  // namespace
}  // namespace quire
