#include "core/model/model_config.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace quire {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;

json GoodConfig() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
    "vocab_size": 100, "hidden_size": 96, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6, "rope_theta": 5000.0, "hidden_act": "silu", "eos_token_id": 2,
    "tie_word_embeddings": true})");
}

absl::StatusOr<ModelConfig> Load(const json& config) {
  const TempDir dir;
  dir.Write("config.json", config.dump());
  return LoadModelConfig(dir.path());
}

absl::StatusOr<ModelConfig> LoadWithGeneration(const json& config, const json& generation) {
  const TempDir dir;
  dir.Write("config.json", config.dump());
  dir.Write("generation_config.json", generation.dump());
  return LoadModelConfig(dir.path());
}

TEST(LoadModelConfig, ReadsShapeAndConstants) {
  const auto config = Load(GoodConfig());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->vocab_size, 100);
  EXPECT_EQ(config->hidden_size, 96);
  EXPECT_EQ(config->intermediate_size, 64);
  EXPECT_EQ(config->num_layers, 3);
  EXPECT_EQ(config->num_heads, 6);
  EXPECT_THAT(config->kv_groups, ElementsAre(2, 2, 2));
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->max_positions, 256);
  EXPECT_FLOAT_EQ(config->rms_norm_eps, 1e-6f);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_FALSE(config->o_bias);
  EXPECT_FALSE(config->mlp_bias);
  EXPECT_EQ(config->rope.theta, 5000.0);
  EXPECT_EQ(config->rope.kind, RopeKind::kDefault);
  EXPECT_EQ(config->Layer(1).window, 0);
  EXPECT_EQ(config->checkpoint_dtype, kernels::DType::kF16);
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2));
}

TEST(LoadModelConfig, AppliesTheDefaultsOfLlamaToOptionalFields) {
  json config = GoodConfig();
  for (const char* field : {"num_key_value_heads", "torch_dtype", "rope_theta", "hidden_act",
                            "eos_token_id", "tie_word_embeddings"}) {
    config.erase(field);
  }
  const auto loaded = Load(config);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->kv_groups, ElementsAre(6, 6, 6));
  EXPECT_EQ(loaded->checkpoint_dtype, kernels::DType::kF32);
  EXPECT_EQ(loaded->rope.theta, 10000.0);
  EXPECT_FALSE(loaded->tie_word_embeddings);
  EXPECT_TRUE(loaded->eos_token_ids.empty());
}

TEST(LoadModelConfig, NamesTheModelAfterItsDirectory) {
  const TempDir dir;
  std::filesystem::create_directory(dir.File("tiny-llama"));
  dir.Write("tiny-llama/config.json", GoodConfig().dump());
  EXPECT_EQ(LoadModelConfig(dir.File("tiny-llama/"))->name, "tiny-llama");
  EXPECT_EQ(LoadModelConfig(dir.File("tiny-llama/."))->name, "tiny-llama");
  std::filesystem::create_symlink("tiny-llama", dir.File("current"));
  EXPECT_EQ(LoadModelConfig(dir.File("current"))->name, "current");
}

TEST(LoadModelConfig, ReadsRopeInAllThreeSpellings) {
  const json scaling = {{"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 64}};
  json older = GoodConfig();
  older["rope_scaling"] = scaling;
  older["rope_scaling"]["type"] = "llama3";
  json old = GoodConfig();
  old["rope_scaling"] = scaling;
  old["rope_scaling"]["rope_type"] = "llama3";
  json current = GoodConfig();
  current.erase("rope_theta");
  current["rope_parameters"] = old["rope_scaling"];
  current["rope_parameters"]["rope_theta"] = 5000.0;
  for (const json& config : {older, old, current}) {
    const auto loaded = Load(config);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->rope.theta, 5000.0);
    EXPECT_EQ(loaded->rope.kind, RopeKind::kLlama3);
    EXPECT_EQ(loaded->rope.factor, 8.0);
    EXPECT_EQ(loaded->rope.low_freq_factor, 1.0);
    EXPECT_EQ(loaded->rope.high_freq_factor, 4.0);
    EXPECT_EQ(loaded->rope.original_max_positions, 64);
  }
}

TEST(LoadModelConfig, TakesTheMaximumLengthWhereTheOriginalOneIsNotGiven) {
  json config = GoodConfig();
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0}};
  EXPECT_EQ(Load(config)->rope.original_max_positions, 256);
}

TEST(LoadModelConfig, AcceptsNullWhereTransformersWritesIt) {
  json config = GoodConfig();
  config["rope_scaling"] = nullptr;
  config["head_dim"] = nullptr;
  config["quantization_config"] = nullptr;
  EXPECT_TRUE(Load(config).ok());
}

TEST(LoadModelConfig, ReadsAListOfEndTokens) {
  json config = GoodConfig();
  config["eos_token_id"] = {1, 99, 3};
  EXPECT_THAT(Load(config)->eos_token_ids, ElementsAre(1, 99, 3));
}

TEST(LoadModelConfig, AllowsAnyGroupCountThatDividesTheHeads) {
  for (const int groups : {1, 2, 3, 6}) {
    json config = GoodConfig();
    config["num_key_value_heads"] = groups;
    EXPECT_THAT(Load(config)->kv_groups, ElementsAre(groups, groups, groups));
  }
}

struct BadConfig {
  const char* change;  // a JSON merge patch
  const char* message;
};

class LoadModelConfigRefuses : public ::testing::TestWithParam<BadConfig> {};

TEST_P(LoadModelConfigRefuses, AndNamesTheField) {
  json config = GoodConfig();
  config.merge_patch(json::parse(GetParam().change));
  const auto loaded = Load(config);
  ASSERT_TRUE(absl::IsInvalidArgument(loaded.status())) << GetParam().change << loaded.status();
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("config.json"));
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, LoadModelConfigRefuses,
    ::testing::Values(
        BadConfig{
            R"({"architectures": null})",
            "'architectures' must be a list with one of the supported names, DeciLMForCausalLM, "
            "Gemma2ForCausalLM, Gemma3ForCausalLM, LlamaForCausalLM, MistralForCausalLM, "
            "OpenELMForCausalLM, Phi3ForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, "
            "SmolLM3ForCausalLM"},
        BadConfig{R"({"architectures": []})", "'architectures'"},
        BadConfig{R"({"architectures": "LlamaForCausalLM"})", "'architectures'"},
        BadConfig{R"({"architectures": [7]})", "'architectures'"},
        BadConfig{R"({"architectures": ["MambaForCausalLM"]})", "found [\"MambaForCausalLM\"]"},
        BadConfig{R"({"quantization_config": {"bits": 4}})",
                  "quantization_config: field 'quant_method' must be one of those"},
        BadConfig{R"({"num_local_experts": 8})", "'num_local_experts' must be absent"},
        BadConfig{R"({"num_experts": 60})", "'num_experts'"},
        BadConfig{R"({"n_routed_experts": 2})", "'n_routed_experts'"},
        BadConfig{R"({"attention_chunk_size": 8192})", "'attention_chunk_size'"},
        BadConfig{R"({"use_bidirectional_attention": true})", "'use_bidirectional_attention'"},
        BadConfig{R"({"logits_scaling": 8.0})", "'logits_scaling'"},
        BadConfig{R"({"clip_qkv": "all"})", "'clip_qkv'"},
        BadConfig{R"({"vocab_size": null})", "'vocab_size' must be an integer"},
        BadConfig{R"({"vocab_size": 0})", "'vocab_size' must be an integer in [1, 4194304]"},
        BadConfig{R"({"vocab_size": 4194305})", "found 4194305"},
        BadConfig{R"({"vocab_size": 100.5})", "found 100.5"},
        BadConfig{R"({"vocab_size": "100"})", "found \"100\""},
        BadConfig{R"({"vocab_size": 18446744073709551615})", "found 18446744073709551615"},
        BadConfig{R"({"hidden_size": -96})", "'hidden_size'"},
        BadConfig{R"({"hidden_size": 9223372036854775807})", "'hidden_size'"},
        BadConfig{R"({"hidden_size": [96]})", "'hidden_size'"},
        BadConfig{R"({"intermediate_size": 4294967296})", "'intermediate_size'"},
        BadConfig{R"({"num_hidden_layers": 1025})", "'num_hidden_layers'"},
        BadConfig{R"({"num_attention_heads": 0})", "'num_attention_heads'"},
        BadConfig{R"({"num_key_value_heads": 4})",
                  "'num_key_value_heads' must be a divisor of num_attention_heads, which is 6"},
        BadConfig{R"({"num_key_value_heads": 12})", "'num_key_value_heads'"},
        BadConfig{R"({"num_key_value_heads": 0})", "'num_key_value_heads'"},
        BadConfig{R"({"num_key_value_heads": [2, 2]})", "an entry for each of 3 layers"},
        BadConfig{R"({"num_key_value_heads": [2, 2, 0]})", "a list of integers in [1, 6]"},
        BadConfig{R"({"num_key_value_heads": [2, 2, 4]})", "a list of divisors"},
        BadConfig{R"({"head_dim": 24})", "multiple of 16"},
        BadConfig{R"({"head_dim": 272})", "'head_dim'"},
        BadConfig{R"({"hidden_size": 97})", "'head_dim' must be given"},
        BadConfig{R"({"hidden_size": 6})", "hidden_size / num_attention_heads"},
        BadConfig{R"({"max_position_embeddings": 0})", "'max_position_embeddings'"},
        BadConfig{R"({"max_position_embeddings": 16777217})", "'max_position_embeddings'"},
        BadConfig{R"({"rms_norm_eps": 0})", "'rms_norm_eps'"},
        BadConfig{R"({"rms_norm_eps": null})", "'rms_norm_eps'"},
        BadConfig{R"({"tie_word_embeddings": 1})", "'tie_word_embeddings' must be true or false"},
        BadConfig{R"({"attention_bias": "yes"})", "'attention_bias'"},
        BadConfig{R"({"hidden_act": "gelu"})",
                  "'hidden_act' must be \"silu\" or \"gelu_pytorch_tanh\""},
        BadConfig{R"({"torch_dtype": "float8_e4m3fn"})", "'torch_dtype'"},
        BadConfig{R"({"dtype": 16})", "'dtype'"}, BadConfig{R"({"rope_theta": 0})", "'rope_theta'"},
        BadConfig{R"({"rope_scaling": 4})", "'rope_scaling' must be an object"},
        BadConfig{R"({"rope_scaling": {"rope_type": "dynamic", "factor": 4}})",
                  "another kind than \"dynamic\""},
        BadConfig{R"({"rope_scaling": {"type": "mrope"}})",
                  "\"default\", \"linear\", \"llama3\", \"yarn\" or \"longrope\""},
        BadConfig{R"({"rope_scaling": {"type": "linear"}})", "'factor' must be a number"},
        BadConfig{R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", "found 0.5"},
        BadConfig{R"({"rope_scaling": {"type": "yarn", "beta_fast": 1, "beta_slow": 2}})",
                  "'beta_fast' must be at least beta_slow"},
        BadConfig{R"({"rope_theta": 1, "rope_scaling": {"type": "yarn"}})", "'rope_theta'"},
        BadConfig{R"({"rope_scaling": {"type": "longrope", "short_factor": [1]}})",
                  "'short_factor' must be a list of 8 numbers"},
        BadConfig{R"({"rope_scaling": {"type": "longrope", "short_factor": [1,1,1,1,1,1,1,0]}})",
                  "'short_factor'"},
        BadConfig{
            R"({"original_max_position_embeddings": 1, "rope_scaling": {"type": "longrope"}})",
            "'original_max_position_embeddings'"},
        BadConfig{R"({"rope_parameters": {"full_attention": {}}})", "'full_attention'"},
        BadConfig{R"({"rope_parameters": {"partial_rotary_factor": 0.5}})",
                  "'partial_rotary_factor' must be 1"},
        BadConfig{R"({"rope_scaling": {"rope_type": "llama3"}})", "'factor'"},
        BadConfig{R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                      "high_freq_factor": 4}})",
                  "'high_freq_factor' must be above low_freq_factor"},
        BadConfig{R"({"eos_token_id": 100})", "'eos_token_id' must be a token id in [0, 100)"},
        BadConfig{R"({"eos_token_id": [1, -1]})", "'eos_token_id'"},
        BadConfig{R"({"eos_token_id": "</s>"})", "'eos_token_id'"},
        BadConfig{R"({"eos_token_id": 4294967297})", "'eos_token_id'"}));

TEST(LoadModelConfig, RefusesFilesThatAreNoJsonObjects) {
  const TempDir dir;
  for (const char* text : {"", "[]", "7", "\"x\"", "{\"vocab_size\": 1, \"vocab_size\": 2}"}) {
    dir.Write("config.json", text);
    EXPECT_TRUE(absl::IsInvalidArgument(LoadModelConfig(dir.path()).status())) << text;
  }
}

TEST(LoadModelConfig, TellsThatTheFileIsMissing) {
  const TempDir dir;
  const auto loaded = LoadModelConfig(dir.path());
  EXPECT_TRUE(absl::IsNotFound(loaded.status()));
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("/config.json"));
}

TEST(GenerationConfig, GivesTheDefaultsOfRequests) {
  const auto loaded = LoadWithGeneration(
      GoodConfig(), json::parse(R"({"temperature": 0.6, "top_p": 0.9, "top_k": 40,
                                    "repetition_penalty": 1.1, "eos_token_id": [5, 6],
                                    "do_sample": true})"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_FLOAT_EQ(loaded->default_temperature, 0.6f);
  EXPECT_FLOAT_EQ(loaded->default_top_p, 0.9f);
  EXPECT_EQ(loaded->default_top_k, 40);
  EXPECT_FLOAT_EQ(loaded->default_repetition_penalty, 1.1f);
  EXPECT_THAT(loaded->eos_token_ids, ElementsAre(5, 6));
}

TEST(GenerationConfig, MakesARequestGreedyWhenSamplingIsOff) {
  const auto loaded =
      LoadWithGeneration(GoodConfig(), json::parse(R"({"temperature": 0.6, "do_sample": false})"));
  EXPECT_EQ(loaded->default_temperature, 0.0f);
}

TEST(GenerationConfig, NeverKeepsMoreIdsThanThereAre) {
  const auto loaded = LoadWithGeneration(GoodConfig(), json::parse(R"({"top_k": 250})"));
  EXPECT_EQ(loaded->default_top_k, 100);
}

TEST(GenerationConfig, LeavesWhatItDoesNotMentionAlone) {
  const auto loaded = LoadWithGeneration(GoodConfig(), json::object());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->default_temperature, 1.0f);
  EXPECT_EQ(loaded->default_top_p, 1.0f);
  EXPECT_EQ(loaded->default_top_k, 0);
  EXPECT_THAT(loaded->eos_token_ids, ElementsAre(2));
}

TEST(GenerationConfig, IsCheckedLikeTheConfig) {
  for (const char* text :
       {R"({"temperature": -1})", R"({"temperature": "hot"})", R"({"top_p": 0})",
        R"({"top_p": 1.5})", R"({"top_k": -1})", R"({"top_k": 1.5})",
        R"({"repetition_penalty": 0})", R"({"do_sample": 0})", R"({"eos_token_id": 100})", "[]"}) {
    const auto loaded = LoadWithGeneration(GoodConfig(), json::parse(text));
    EXPECT_TRUE(absl::IsInvalidArgument(loaded.status())) << text;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("generation_config.json"));
  }
}

// Counted by hand from the published shapes.
TEST(NumParameters, MatchesThePublishedCounts) {
  EXPECT_EQ(NamedModelShape("llama-3.2-1b")->NumParameters(), 1235814400);
  EXPECT_EQ(NamedModelShape("llama-3.1-8b")->NumParameters(), 8030261248);
  EXPECT_EQ(NamedModelShape("qwen2.5-0.5b")->NumParameters(), 494032768);
  EXPECT_EQ(NamedModelShape("qwen3-0.6b")->NumParameters(), 596049920);
  EXPECT_EQ(NamedModelShape("mistral-7b")->NumParameters(), 7241732096);
  EXPECT_EQ(NamedModelShape("gemma-2-2b")->NumParameters(), 2614341888);
}

TEST(NumParameters, CountsBiasesOfBothBlocks) {
  json config = GoodConfig();
  const int64_t without = Load(config)->NumParameters();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  // 3 layers of Q 96, K and V 32 each, O 96, gate and up 64 each, down 96.
  EXPECT_EQ(Load(config)->NumParameters() - without, 3 * (96 + 2 * 32 + 96 + 2 * 64 + 96));
}

TEST(NamedModelShape, ListsTheNamesWhenItKnowsNone) {
  const auto shape = NamedModelShape("gpt-2");
  EXPECT_TRUE(absl::IsNotFound(shape.status()));
  for (const std::string& name : NamedModelShapes()) {
    EXPECT_THAT(std::string(shape.status().message()), HasSubstr(name));
    EXPECT_EQ(NamedModelShape(name)->name, name);
    EXPECT_EQ(NamedModelShape(name)->kv_groups.size(),
              static_cast<size_t>(NamedModelShape(name)->num_layers));
  }
}

}  // namespace
}  // namespace quire
