#include "core/regroup/config_rewriter.h"

#include <nlohmann/json.hpp>

#include "core/regroup/json_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Rewritten(const std::string& text, const std::vector<int32_t>& groups) {
  const auto config = ParseModelConfig(text, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  if (!config.ok()) return "";
  const auto rewritten = RewriteKvGroups(text, "config.json", *config, groups);
  EXPECT_TRUE(rewritten.ok()) << rewritten.status();
  if (!rewritten.ok()) return "";
  const auto after = ParseModelConfig(*rewritten, "rewritten");
  EXPECT_TRUE(after.ok()) << after.status();
  if (after.ok()) {
    EXPECT_EQ(after->kv_groups, groups);
  }
  return *rewritten;
}

// The text with the one piece replaced.
std::string With(std::string text, const std::string& piece, const std::string& replacement) {
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  return text.replace(at, piece.size(), replacement);
}

// Spacing, escapes, numbers and names such as no JSON library would write them back.
constexpr char kOdd[] =
    "\xEF\xBB\xBF {  \"architectures\" :[\"LlamaForCausalLM\"],\r\n"
    "\t\"rms_norm_eps\": 1.000e-05,\n"
    "  \"other\": {\"num_key_value_heads\": 77, \"text\": \"}]\\\"{ num_key_value_heads\", \"n\": "
    "[]},\n"
    "  \"vocab_size\": 100, \"hidden_size\": 96, \"intermediate_size\": 64,\n"
    "  \"num_hidden_layers\": 3, \"num_attention_heads\": 6, \"max_position_embeddings\": 256,\n"
    "  \"num_key_value_\\u0068eads\" : 6 ,\n"
    "  \"rope_theta\": 1E4, \"big\": 12345678901234567890123, \"umlaut\": \"\\u00fc\"}\n\n";

TEST(RewriteKvGroups, ChangesTheNumberAndNothingElse) {
  EXPECT_EQ(Rewritten(kOdd, {2, 2, 2}), With(kOdd, "eads\" : 6 ,", "eads\" : 2 ,"));
}

TEST(RewriteKvGroups, WritesAListWhereLayersDiffer) {
  const std::string listed = With(kOdd, "eads\" : 6 ,", "eads\" : [6, 1, 3] ,");
  EXPECT_EQ(Rewritten(kOdd, {6, 1, 3}), listed);
  // And back to one number.
  EXPECT_EQ(Rewritten(listed, {1, 1, 1}), With(kOdd, "eads\" : 6 ,", "eads\" : 1 ,"));
}

TEST(RewriteKvGroups, AddsTheFieldThatMhaModelsLeaveOut) {
  constexpr char kMha[] = R"({
  "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 96,
  "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 6,
  "max_position_embeddings": 256, "rms_norm_eps": 1e-6
})";
  EXPECT_EQ(Rewritten(kMha, {3, 3}), With(kMha, "{\n  ", "{\n  \"num_key_value_heads\": 3,\n  "));
  const std::string null = With(kMha, "{\n", "{\"num_key_value_heads\": null,\n");
  EXPECT_EQ(Rewritten(null, {3, 1}), With(null, "null", "[3, 1]"));
}

TEST(IsListOfQuire, IsTrueWhereLayersDifferAndNoFieldSaysSo) {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  EXPECT_TRUE(IsListOfQuire(config, {1, 2}));
  EXPECT_FALSE(IsListOfQuire(config, {2, 2}));
  for (const char* layered : {"DeciLMForCausalLM", "OpenELMForCausalLM"}) {
    config.architecture = layered;
    EXPECT_FALSE(IsListOfQuire(config, {1, 2}));
  }
}

json DeciLm(const std::string& more) {
  json config = json::parse(R"({
    "architectures": ["DeciLMForCausalLM"], "vocab_size": 100, "hidden_size": 96,
    "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 6,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-6})");
  config.merge_patch(json::parse(more));
  return config;
}

TEST(RewriteKvGroups, WritesDeciLmsList) {
  json config = DeciLm(R"({"num_key_value_heads_per_layer": [6, 3, 6], "num_key_value_heads": 6})");
  const json rewritten = json::parse(Rewritten(config.dump(), {2, 3, 1}));
  config["num_key_value_heads_per_layer"] = {2, 3, 1};
  config["num_key_value_heads"] = 3;
  EXPECT_EQ(rewritten, config);
}

TEST(RewriteKvGroups, WritesTheBlocksOfNemotronNas) {
  json config = DeciLm(R"({"num_key_value_heads": null, "block_configs": [
    {"attention": {"n_heads_in_group": 1}, "ffn": {"ffn_mult": 4.0}},
    {"attention": {"n_heads_in_group": null, "no_op": true}, "ffn": {"ffn_mult": 4.0}},
    {"attention": {"n_heads_in_group": 2}, "ffn": {"no_op": true}}]})");
  const json rewritten = json::parse(Rewritten(config.dump(1), {2, 0, 1}));
  config["block_configs"][0]["attention"]["n_heads_in_group"] = 3;
  config["block_configs"][2]["attention"]["n_heads_in_group"] = 6;
  EXPECT_EQ(rewritten, config);
}

TEST(RewriteKvGroups, WritesOpenElmsListAndItsRatioWhereThereIsOne) {
  json config = json::parse(R"({
    "architectures": ["OpenELMForCausalLM"], "vocab_size": 100, "model_dim": 96,
    "num_transformer_layers": 2, "max_context_length": 256, "head_dim": 16,
    "num_query_heads": [4, 8], "num_kv_heads": [4, 8], "num_gqa_groups": 1,
    "ffn_multipliers": [0.5, 1.7]})");
  json expected = config;
  expected["num_kv_heads"] = {1, 2};
  expected["num_gqa_groups"] = 4;
  EXPECT_EQ(json::parse(Rewritten(config.dump(), {1, 2})), expected);
  expected["num_kv_heads"] = {1, 8};
  expected["num_gqa_groups"] = nullptr;
  EXPECT_EQ(json::parse(Rewritten(config.dump(), {1, 8})), expected);
}

TEST(RewriteKvGroups, RefusesGroupsThatTheConfigurationCannotSay) {
  const auto config = ParseModelConfig(kOdd, "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto rewritten = RewriteKvGroups(kOdd, "there/config.json", *config, {4, 4, 4});
  EXPECT_TRUE(absl::IsInvalidArgument(rewritten.status())) << rewritten.status();
  EXPECT_THAT(std::string(rewritten.status().message()), HasSubstr("there/config.json"));
}

TEST(JsonText, FindsValuesOfEveryKind) {
  const std::string text = R"({"a": [1, {"b": "x,]"}, [], -2.5e3], "c" : true,"d":{}})";
  const auto replaced = [&](const JsonPath& path) {
    JsonText edited(text);
    return edited.Replace(path, "0") ? edited.text() : "(absent)";
  };
  EXPECT_EQ(replaced({"a"}), R"({"a": 0, "c" : true,"d":{}})");
  EXPECT_EQ(replaced({"a", size_t{0}}),
            R"({"a": [0, {"b": "x,]"}, [], -2.5e3], "c" : true,"d":{}})");
  EXPECT_EQ(replaced({"a", size_t{1}, "b"}),
            R"({"a": [1, {"b": 0}, [], -2.5e3], "c" : true,"d":{}})");
  EXPECT_EQ(replaced({"a", size_t{3}}), R"({"a": [1, {"b": "x,]"}, [], 0], "c" : true,"d":{}})");
  EXPECT_EQ(replaced({"c"}), R"({"a": [1, {"b": "x,]"}, [], -2.5e3], "c" : 0,"d":{}})");
  EXPECT_EQ(replaced({"d"}), R"({"a": [1, {"b": "x,]"}, [], -2.5e3], "c" : true,"d":0})");
  for (const JsonPath& path : std::vector<JsonPath>{{"b"},
                                                    {"d", "e"},
                                                    {"a", size_t{4}},
                                                    {"a", size_t{2}, size_t{0}},
                                                    {"a", "b"},
                                                    {"c", size_t{0}}}) {
    EXPECT_EQ(replaced(path), "(absent)");
  }
}

TEST(JsonText, PrependsAsTheFirstFieldIsWritten) {
  const auto prepended = [](const std::string& text) {
    JsonText edited(text);
    edited.Prepend("k\"", "[1]");
    return edited.text();
  };
  EXPECT_EQ(prepended("{}"), R"({"k\"": [1]})");
  EXPECT_EQ(prepended("{\"a\":1}"), R"({"k\"": [1],"a":1})");
  EXPECT_EQ(prepended("{\n\t\"a\": 1\n}"), "{\n\t\"k\\\"\": [1],\n\t\"a\": 1\n}");
}

}  // namespace
}  // namespace quire
