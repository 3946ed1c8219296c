#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
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
      {"/normalizer", json::object({{"type", "Precompiled"}}),
       "normalizer stage 0: type \"Precompiled\" is not supported; supported: Sequence, NFC"},
      {"/decoder", json::object({{"type", "WordPiece"}}), "decoder stage 0: type \"WordPiece\""},
      {"/model/type", "Unigram", "model: type \"Unigram\" is not supported; supported: BPE"},
      {"/model/dropout", 0.1, "dropout"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
      {"/pre_tokenizer/type", "UnicodeScripts", "type \"UnicodeScripts\" is not supported"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Sometimes",
       "behavior \"Sometimes\" is not supported; supported: Isolated, Removed"},
      {"/pre_tokenizer/pretokenizers/0/pattern", json::object({{"Glob", " "}}), "Regex or String"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "a*", "empty string"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\w+)", "escape sequence"},
      {"/pre_tokenizer/pretokenizers/0/type", "ByteLevel", "after ByteLevel"},
      {"/post_processor/type", "Other", "post_processor stage 0: type \"Other\""},
  });
}

json Stage(std::string type, json members = json::object()) {
  members["type"] = std::move(type);
  return members;
}

TEST(HostileTokenizerTest, DecodersThatDoNotWorkTokenByTokenAreNamed) {
  const json fallback = Stage("ByteFallback");
  const json fuse = Stage("Fuse");
  const json replace = Stage("Replace", {{"pattern", {{"String", "_"}}}, {"content", " "}});
  const auto strip = [](int start, int stop) {
    return Stage("Strip", {{"content", " "}, {"start", start}, {"stop", stop}});
  };
  const json metaspace = Stage("Metaspace", {{"replacement", "_"}, {"prepend_scheme", "always"}});
  struct Case {
    json stages;
    const char* named;
  };
  for (const Case& test : std::initializer_list<Case>{
           {json::array(), "decoder: needs one of"},
           {json::array({fallback, replace}), "\"Replace\" after ByteFallback or Fuse"},
           {json::array({fuse, fallback}), "\"ByteFallback\" after ByteFallback or Fuse"},
           {json::array({fallback, strip(1, 0)}), "Strip between ByteFallback and Fuse"},
           {json::array({fuse, strip(0, 1)}), "start 0 with stop 1"},
           {json::array({fuse, strip(1000, 0)}), "start 1000"},
           {json::array({metaspace, fuse, strip(1, 0)}), "Strip after Metaspace"},
           {json::array({replace, metaspace}), "a stage before Metaspace"},
           {json::array({Stage("ByteLevel"), replace}), "\"Replace\" after ByteLevel"},
           {json::array({Stage("Strip", {{"content", "ab"}, {"start", 1}, {"stop", 0}})}),
            "content must be one character"},
           {json::array({Stage("Metaspace", {{"replacement", ""}})}), "one character"},
       }) {
    json root = ValidJson();
    root["decoder"] = Stage("Sequence", {{"decoders", test.stages}});
    ExpectRefused(root, test.named);
  }
}

// Each cuts at what the other has put before a piece, so that pieces would double stage by stage.
TEST(HostileTokenizerTest, ASecondMetaspaceIsRefused) {
  json root = ValidJson();
  json stages = json::array();
  for (int i = 0; i < 60; ++i) {
    stages.push_back(Stage("Metaspace", {{"replacement", i % 2 == 0 ? "a" : "b"}}));
  }
  root["pre_tokenizer"] = Stage("Sequence", {{"pretokenizers", stages}});
  ExpectRefused(root, "pre_tokenizer stage 1: a second Metaspace is not supported");
}

TEST(HostileTokenizerTest, ParametersOfStagesAreChecked) {
  const auto sequence = [](json stage) { return Stage("Sequence", {{"normalizers", {stage}}}); };
  ExpectRefused({
      {"/normalizer", sequence(Stage("Prepend", {{"prepend", 1}})), "needs a string prepend"},
      {"/normalizer", sequence(Stage("Prepend", {{"prepend", std::string(300, 'x')}})),
       "at most 256 bytes"},
      {"/normalizer", sequence(Stage("Replace", {{"pattern", {{"String", ""}}}, {"content", ""}})),
       "pattern must have 1 to"},
      {"/normalizer", sequence(Stage("Replace", {{"pattern", {{"Regex", "$"}}}, {"content", ""}})),
       "anchor"},
      {"/normalizer", Stage("Strip", {{"strip_left", 1}}), "strip_left must be true or false"},
      {"/normalizer", Stage("Sequence", {{"normalizers", json::array({1})}}),
       "needs a string type"},
      {"/normalizer", Stage("Sequence", {{"normalizers", json(100, Stage("NFC"))}}),
       "more than 64 stages"},
      {"/pre_tokenizer", Stage("Metaspace", {{"replacement", "ab"}}), "must be one character"},
      {"/pre_tokenizer", Stage("Metaspace", {{"replacement", "_"}, {"prepend_scheme", "last"}}),
       "supported: always, first, never"},
      {"/pre_tokenizer", Stage("Metaspace", {{"replacement", "_"}, {"add_prefix_space", false}}),
       "contradicts"},
      {"/pre_tokenizer", Stage("CharDelimiterSplit", {{"delimiter", ""}}), "one character"},
      {"/post_processor",
       Stage("RobertaProcessing", {{"cls", {"<s>", 258}}, {"sep", {"<s>", "x"}}}), "a token id"},
      {"/post_processor", Stage("BertProcessing", {{"cls", {"<s>", 258}}}), "needs an array sep"},
      {"/post_processor", Stage("BertProcessing", {{"cls", {"<s>", 258}}, {"sep", {"<s>", 999}}}),
       "no token has the id 999"},
      {"/model/unk_token", 5, "unk_token"},
  });
  json root = ValidJson();
  root["normalizer"] = Stage("Strip");
  root["added_tokens"][1]["content"] = "  ";
  root["added_tokens"][1]["normalized"] = true;
  ExpectRefused(root, "the normalizer leaves nothing of");
  root = ValidJson();
  root["pre_tokenizer"] = nullptr;
  root["model"]["unk_token"] = "nowhere";
  ExpectRefused(root, "model.unk_token \"nowhere\" is not in model.vocab");
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
      // These are legal: no merges, other text, another number of ids, no pre-tokenizer.
      if (pointer == "/model/merges" && value == json::array()) continue;
      if (target.is_string() && value.is_string()) continue;
      if (pointer.ends_with("/ids") && value.is_array()) continue;
      if (pointer == "/pre_tokenizer" && value.is_null()) continue;
      if (pointer.ends_with("pretokenizers") && value == json::array()) continue;
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
      {"/model/byte_fallback", 1, "byte_fallback"},
      {"/model/fuse_unk", "x", "fuse_unk"},
      {"/added_tokens/0/single_word", 2, "single_word"},
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

std::string GoldenTokenizer(const std::string& form) {
  std::ifstream stream(QUIRE_SOURCE_DIR "/tests/golden/data/tokenizers/" + form +
                       "/tokenizer.json");
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string Damaged(std::string text, std::mt19937& random) {
  for (size_t edits = 1 + random() % 3; edits > 0; --edits) {
    const size_t at = random() % text.size();
    if (random() % 3 == 0) {
      text.erase(at, 1 + random() % 20);
    } else {
      text[at] = "{}[]\",:0129aeE-.\\\x80"[random() % 19];
    }
  }
  return text;
}

TEST(HostileTokenizerTest, DamagedFilesNeverCrash) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::vector<std::pair<std::string, int>> files = {{ValidJson().dump(), 3000}};
  for (const char* form : {"llama2", "mistral", "pieces", "plain_words", "qwen2", "roberta"}) {
    files.emplace_back(GoldenTokenizer(form), 100);
    ASSERT_TRUE(LoadStatus(files.back().first).ok()) << form;
  }
  for (const auto& [valid, rounds] : files) {
    for (int round = 0; round < rounds; ++round) {
      const auto tokenizer = BpeTokenizer::FromJson(Damaged(valid, random), {});
      if (!tokenizer.ok()) continue;
      const auto ids = (*tokenizer)->Encode("abc <s> x\xE2\x85\xA7 \xC3\xA9", {});
      if (ids.ok()) (*tokenizer)->Decode(*ids, false);
    }
  }
}

}  // namespace
}  // namespace quire
