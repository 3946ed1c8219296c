#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "core/text/bpe_tokenizer.h"
#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::nlohmann::json;
using ::quire::testing::AddedTokenJson;
using ::quire::testing::Gpt2Json;
using ::quire::testing::MustLoad;
using ::quire::testing::PrefixTemplateJson;
using ::quire::testing::SplitJson;
using ::testing::HasSubstr;

json ValidJson() {
  json root = Gpt2Json({{"a", "b"}, {"ab", "c"}});
  root["added_tokens"] =
      json::array({AddedTokenJson(258, "<s>", true), AddedTokenJson(259, "<t>", false)});
  root["pre_tokenizer"] = SplitJson(R"(\p{L}+|\s+)");
  root["post_processor"] = PrefixTemplateJson("<s>", 258);
  return root;
}

absl::Status LoadStatus(std::string_view text) { return BpeTokenizer::FromJson(text, {}).status(); }

struct Edit {
  const char* pointer;  // RFC 6901
  json value;
  const char* named;  // in the message
};

void ExpectRefused(const json& root, const char* named) {
  const absl::Status status = LoadStatus(root.dump());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr(named));
}

void ExpectRefused(const std::vector<Edit>& edits) {
  for (const Edit& edit : edits) {
    SCOPED_TRACE(std::string(edit.pointer) + " = " + edit.value.dump());
    json root = ValidJson();
    root[json::json_pointer(edit.pointer)] = edit.value;
    ExpectRefused(root, edit.named);
  }
}

TEST(HostileTokenizerTest, TheUneditedFileLoads) { EXPECT_NE(MustLoad(ValidJson()), nullptr); }

TEST(HostileTokenizerTest, ComponentsThatAreNotImplementedAreNamed) {
  ExpectRefused({
      {"/version", "2.0", "version"},
      {"/normalizer", json::object({{"type", "NFC"}}), "normalizer: type \"NFC\""},
      {"/decoder/type", "Metaspace", "decoder: type \"Metaspace\""},
      {"/model/type", "Unigram", "model: type \"Unigram\""},
      {"/model/byte_fallback", true, "byte_fallback"},
      {"/model/dropout", 0.1, "dropout"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
      {"/pre_tokenizer/type", "Whitespace", "pre_tokenizer"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Removed", "\"Removed\""},
      {"/pre_tokenizer/pretokenizers/0/invert", true, "invert"},
      {"/pre_tokenizer/pretokenizers/0/pattern", json::object({{"String", " "}}), "without Regex"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "a*", "empty string"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\w+)", "escape sequence"},
      {"/pre_tokenizer/pretokenizers/0/type", "ByteLevel", "after ByteLevel"},
      {"/pre_tokenizer/pretokenizers/1/type", "Split", "stage 1"},
      {"/post_processor/type", "BertProcessing", "post_processor: type \"BertProcessing\""},
      {"/added_tokens/0/single_word", true, "single_word"},
  });
}

TEST(HostileTokenizerTest, WrongTypesAndMissingMembersAreErrors) {
  const std::vector<std::string> pointers = {
      "/decoder",
      "/pre_tokenizer",
      "/pre_tokenizer/type",
      "/pre_tokenizer/pretokenizers",
      "/pre_tokenizer/pretokenizers/0",
      "/pre_tokenizer/pretokenizers/0/pattern",
      "/pre_tokenizer/pretokenizers/0/pattern/Regex",
      "/model",
      "/model/vocab",
      "/model/vocab/a",
      "/model/merges",
      "/model/merges/0",
      "/added_tokens/0",
      "/added_tokens/0/id",
      "/added_tokens/0/content",
      "/post_processor/single",
      "/post_processor/single/0",
      "/post_processor/single/0/SpecialToken",
      "/post_processor/single/0/SpecialToken/id",
      "/post_processor/single/1/Sequence",
      "/post_processor/single/1/Sequence/id",
      "/post_processor/special_tokens",
      "/post_processor/special_tokens/<s>",
      "/post_processor/special_tokens/<s>/ids",
      "/post_processor/special_tokens/<s>/ids/0",
  };
  for (const std::string& pointer : pointers) {
    for (const json& value : {json(nullptr), json(true), json(-1), json(1.5), json("x y z"),
                              json::array(), json::object(), json::array({1, 2})}) {
      SCOPED_TRACE(pointer + " = " + value.dump());
      json root = ValidJson();
      json& target = root[json::json_pointer(pointer)];
      // These are legal: no merges, other text, another number of ids.
      if (pointer == "/model/merges" && value == json::array()) continue;
      if (target.is_string() && value.is_string()) continue;
      if (pointer.ends_with("/ids") && value.is_array()) continue;
      target = value;
      ExpectRefused(root, "tokenizer.json: ");
    }
  }
}

TEST(HostileTokenizerTest, SwitchesMustBeBooleans) {
  ExpectRefused({
      {"/model/ignore_merges", 1, "ignore_merges"},
      {"/added_tokens/0/special", "yes", "special"},
      {"/added_tokens/0/normalized", 0, "normalized"},
      {"/added_tokens/0/lstrip", "x", "lstrip"},
      {"/added_tokens/0/rstrip", json::array(), "rstrip"},
      {"/pre_tokenizer/pretokenizers/1/add_prefix_space", "no", "add_prefix_space"},
      {"/pre_tokenizer/pretokenizers/1/use_regex", 0, "use_regex"},
      {"/added_tokens", "none", "added_tokens"},
      {"/post_processor", 3, "post_processor"},
      {"/normalizer", json::array(), "normalizer"},
  });
}

TEST(HostileTokenizerTest, IdsOutOfRangeOrSharedAreErrors) {
  ExpectRefused({
      {"/model/vocab/a", -1, "model.vocab[\"a\"]"},
      {"/model/vocab/a", 1 << 22, "from 0 to 4194303"},
      {"/model/vocab/a", 4294967296 + 'a', "model.vocab[\"a\"]"},
      {"/model/vocab/a", 18446744073709551615u, "model.vocab[\"a\"]"},
      {"/model/vocab/a", 'b', "share the id 98"},
      {"/added_tokens/0/id", 500, "should be 258"},
      {"/added_tokens/0/content", "a", "should be 97"},
      {"/added_tokens/1/content", "<s>", "duplicate"},
      {"/added_tokens/0/content", "", "1 to 256 bytes"},
      {"/added_tokens/0/content", std::string(300, 'x'), "1 to 256 bytes"},
      {"/post_processor/special_tokens/<s>/ids/0", 260, "no token has the id 260"},
  });
}

TEST(HostileTokenizerTest, MergesMustBeTwoKnownTokensWithAKnownResult) {
  ExpectRefused({
      {"/model/merges/0", "ab", "model.merges[0]"},
      {"/model/merges/0", "a b c", "model.merges[0]"},
      {"/model/merges/1", json::array({"a"}), "model.merges[1]"},
      {"/model/merges/1", json::array({"a", 1}), "model.merges[1]"},
      {"/model/merges/0", "a zz", "\"zz\""},
      {"/model/merges/0", "a c", "\"ac\""},
      {"/model/merges/0", " b", "\"\""},
  });
}

TEST(HostileTokenizerTest, TextThatIsNoJsonObjectIsAnError) {
  const std::string valid = ValidJson().dump();
  for (const std::string& text :
       {std::string(), std::string("null"), std::string("[]"), std::string("3"),
        std::string("{\"model\":"), std::string("\xFF"), std::string("{\"a\":\"\xFF\"}"),
        std::string("{\"a\":1e999}"), valid + "x", valid.substr(0, valid.size() / 2),
        std::string("\"\\")}) {
    EXPECT_EQ(LoadStatus(text).code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 40);
  }
}

TEST(HostileTokenizerTest, DeepNestingIsRefusedBeforeItIsParsed) {
  for (const std::string& open : {std::string("["), std::string("{\"a\":")}) {
    std::string text = "{\"model\":";
    for (int i = 0; i < 200000; ++i) text += open;
    EXPECT_THAT(LoadStatus(text).message(), HasSubstr("nested deeper than 64"));
  }
  json root = ValidJson();
  root["comment"] = std::string(500, '[') + "\\\"[";
  EXPECT_TRUE(LoadStatus(root.dump()).ok()) << "brackets in strings do not nest";
}

TEST(HostileTokenizerTest, DamagedFilesNeverCrash) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string valid = ValidJson().dump();
  for (int round = 0; round < 3000; ++round) {
    std::string text = valid;
    for (size_t edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t at = random() % text.size();
      if (random() % 3 == 0) {
        text.erase(at, 1 + random() % 20);
      } else {
        text[at] = "{}[]\",:0129aeE-.\\\x80"[random() % 19];
      }
    }
    const auto tokenizer = BpeTokenizer::FromJson(text, {});
    if (tokenizer.ok()) {
      EXPECT_TRUE((*tokenizer)->Encode("abc <s> x", {}).ok());
    }
  }
}

}  // namespace
}  // namespace quire
