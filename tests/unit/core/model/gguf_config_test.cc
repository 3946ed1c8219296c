#include "core/model/gguf_config.h"

#include <cmath>
#include <functional>

#include "core/model/gguf_path.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/model/gguf_builder.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using testing::AddTinyGgufTensors;
using testing::AsBytes;
using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::TempDir;
using testing::TinyGgufMetadata;

absl::StatusOr<ModelConfig> ReadWith(GgufBuilder builder) {
  const std::string bytes = AddTinyGgufTensors(builder).Bytes();
  const auto file = ParseGguf(AsBytes(bytes), "m.gguf");
  if (!file.ok()) return file.status();
  return ReadGgufConfig(*file, "m.gguf");
}

TEST(ReadGgufConfig, ReadsShapeAndConstants) {
  const auto config = ReadWith(TinyGgufMetadata());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "LlamaForCausalLM");
  EXPECT_EQ(config->vocab_size, 4);
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->intermediate_size, 32);
  EXPECT_EQ(config->num_layers, 1);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_THAT(config->kv_groups, ElementsAre(1));
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->max_positions, 64);
  EXPECT_EQ(config->rms_norm_eps, 1e-5f);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_EQ(config->rope.kind, RopeKind::kDefault);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_EQ(config->checkpoint_dtype, kernels::DType::kF32);
  EXPECT_TRUE(config->eos_token_ids.empty());
}

TEST(ReadGgufConfig, LearnsFromTheTensorsWhatTheMetadataDoesNotSay) {
  GgufBuilder builder = TinyGgufMetadata();
  builder.Tensor("output.weight", 1, {4, 32}, std::string(256, '\0'))
      .OnesF32("blk.0.attn_q.bias", {32})
      .OnesF32("blk.0.attn_output.bias", {32})
      .OnesF32("blk.0.ffn_gate.bias", {32});
  const auto config = ReadWith(std::move(builder));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_TRUE(config->qkv_bias && config->o_bias && config->mlp_bias);
  EXPECT_EQ(config->checkpoint_dtype, kernels::DType::kF16);
}

TEST(ReadGgufConfig, ReadsArraysWithAnEntryALayer) {
  GgufBuilder builder = TinyGgufMetadata();
  builder.Remove("llama.block_count").Uint32("llama.block_count", 2);
  builder.Remove("llama.attention.head_count_kv").Remove("llama.feed_forward_length");
  builder.Uint32s("llama.attention.head_count_kv", {2, 1});
  builder.Uint32s("llama.feed_forward_length", {32, 64});
  const auto config = ReadWith(std::move(builder));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->kv_groups, ElementsAre(2, 1));
  EXPECT_THAT(config->layer_intermediate_sizes, ElementsAre(32, 64));
  EXPECT_EQ(config->intermediate_size, 64);
  EXPECT_TRUE(config->layer_heads.empty());
}

TEST(ReadGgufConfig, TakesHeadsForGroupsWhereThereAreNone) {
  const auto config = ReadWith(TinyGgufMetadata().Remove("llama.attention.head_count_kv"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->kv_groups, ElementsAre(2));
}

TEST(ReadGgufConfig, ReadsTheTokensThatEndAnAnswerOnce) {
  const auto config = ReadWith(TinyGgufMetadata()
                                   .Uint32("tokenizer.ggml.eos_token_id", 2)
                                   .Uint32("tokenizer.ggml.eot_token_id", 3)
                                   .Uint32("tokenizer.ggml.eom_token_id", 2));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->eos_token_ids, ElementsAre(2, 3));
}

TEST(ReadGgufConfig, StretchesTheRotationInEachWay) {
  auto config = ReadWith(TinyGgufMetadata()
                             .Float32("llama.rope.freq_base", 5e5f)
                             .String("llama.rope.scaling.type", "linear")
                             .Float32("llama.rope.scaling.factor", 4));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.theta, 5e5);
  EXPECT_EQ(config->rope.kind, RopeKind::kLinear);
  EXPECT_EQ(config->rope.factor, 4);
  config = ReadWith(TinyGgufMetadata().Float32("llama.rope.scale_linear", 2));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.factor, 2);
  config = ReadWith(TinyGgufMetadata()
                        .String("llama.rope.scaling.type", "yarn")
                        .Float32("llama.rope.scaling.factor", 4)
                        .Uint32("llama.rope.scaling.original_context_length", 16));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.kind, RopeKind::kYarn);
  EXPECT_EQ(config->rope.original_max_positions, 16);
  EXPECT_NEAR(config->rope.attention_factor, 1.1386, 1e-4);
  config = ReadWith(TinyGgufMetadata()
                        .String("llama.rope.scaling.type", "none")
                        .Float32("llama.rope.scaling.factor", 4));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.kind, RopeKind::kDefault);
  config = ReadWith(TinyGgufMetadata().OnesF32("rope_freqs.weight", {8}));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.kind, RopeKind::kLongRope);
  EXPECT_EQ(config->rope.short_factors, std::vector<double>(8, 1));
  EXPECT_EQ(config->rope.attention_factor, 1);
}

TEST(ReadGgufConfig, KnowsWhatGemmaFilesDoNotSay) {
  const auto gemma2 =
      ReadWith(TinyGgufMetadata("gemma2").Uint32("gemma2.attention.sliding_window", 8));
  ASSERT_TRUE(gemma2.ok()) << gemma2.status();
  EXPECT_FALSE(gemma2->norm_weights_plus_one);
  EXPECT_TRUE(gemma2->post_norms && gemma2->scale_embeddings);
  EXPECT_EQ(gemma2->attention_softcap, 50);
  EXPECT_EQ(gemma2->attention_scale, 0.25f);
  EXPECT_THAT(gemma2->windows, ElementsAre(8));
  const auto gemma3 = ReadWith(TinyGgufMetadata("gemma3")
                                   .Uint32("gemma3.attention.sliding_window", 8)
                                   .Float32("gemma3.rope.freq_base", 1e6f));
  ASSERT_TRUE(gemma3.ok()) << gemma3.status();
  EXPECT_TRUE(gemma3->qk_norm);
  EXPECT_EQ(gemma3->rope.theta, 1e6);
  EXPECT_EQ(gemma3->window_rope->theta, 10000);
}

struct BadMetadata {
  const char* name;
  std::function<void(GgufBuilder&)> spoil;
  const char* message;
};

class ReadGgufConfigRefuses : public ::testing::TestWithParam<BadMetadata> {};

TEST_P(ReadGgufConfigRefuses, AndNamesTheKey) {
  GgufBuilder builder = TinyGgufMetadata();
  GetParam().spoil(builder);
  const auto config = ReadWith(std::move(builder));
  EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << config.status();
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("m.gguf: "));
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().message));
}

GgufBuilder& Yarn(GgufBuilder& b) { return b.String("llama.rope.scaling.type", "yarn"); }

INSTANTIATE_TEST_SUITE_P(
    Table, ReadGgufConfigRefuses,
    ::testing::Values(
        BadMetadata{"NoArchitecture", [](GgufBuilder& b) { b.Remove("general.architecture"); },
                    "key 'general.architecture' must be a string, found nothing"},
        BadMetadata{"AnotherArchitecture",
                    [](GgufBuilder& b) {
                      b.Remove("general.architecture").String("general.architecture", "mamba");
                    },
                    "one of those supported, gemma2, gemma3, llama, qwen2, qwen3, found 'mamba'"},
        BadMetadata{"ArchitectureThatIsANumber",
                    [](GgufBuilder& b) {
                      b.Remove("general.architecture").Uint32("general.architecture", 1);
                    },
                    "key 'general.architecture' must be a string, found 1"},
        BadMetadata{"NoLayers", [](GgufBuilder& b) { b.Remove("llama.block_count"); },
                    "key 'llama.block_count' must be an integer in [1, 1024], found nothing"},
        BadMetadata{"TooManyLayers",
                    [](GgufBuilder& b) {
                      b.Remove("llama.block_count").Uint32("llama.block_count", 1u << 31);
                    },
                    "'llama.block_count'"},
        BadMetadata{"NegativeSize",
                    [](GgufBuilder& b) {
                      b.Remove("llama.embedding_length")
                          .Raw("llama.embedding_length", GgufValueType::kInt64,
                               GgufBuilder::Number(int64_t{-32}));
                    },
                    "'llama.embedding_length' must be an integer in [1, 65536], found -32"},
        BadMetadata{"SizeBeyond63Bits",
                    [](GgufBuilder& b) {
                      b.Remove("llama.context_length")
                          .Raw("llama.context_length", GgufValueType::kUint64,
                               GgufBuilder::Number(UINT64_MAX));
                    },
                    "'llama.context_length'"},
        BadMetadata{
            "HeadsThatGroupsDoNotDivide",
            [](GgufBuilder& b) {
              b.Remove("llama.attention.head_count_kv").Uint32("llama.attention.head_count_kv", 3);
            },
            "'llama.attention.head_count_kv' must be a divisor of the heads"},
        BadMetadata{"ArrayOfAnotherLength",
                    [](GgufBuilder& b) {
                      b.Remove("llama.attention.head_count_kv")
                          .Uint32s("llama.attention.head_count_kv", {1, 1});
                    },
                    "or an array of 1 of them, found an array of 2 elements"},
        BadMetadata{"LayerWithoutAttention",
                    [](GgufBuilder& b) {
                      b.Remove("llama.attention.head_count_kv")
                          .Uint32s("llama.attention.head_count_kv", {0});
                    },
                    "'llama.attention.head_count_kv' must be an integer in [1, 1024]"},
        BadMetadata{"HeadSize", [](GgufBuilder& b) { b.Uint32("llama.attention.key_length", 24); },
                    "'llama.attention.key_length' must be a multiple of 16"},
        BadMetadata{"ValuesOfAnotherSize",
                    [](GgufBuilder& b) { b.Uint32("llama.attention.value_length", 32); },
                    "'llama.attention.value_length' must be an integer in [16, 16]"},
        BadMetadata{"PartialRotation",
                    [](GgufBuilder& b) { b.Uint32("llama.rope.dimension_count", 8); },
                    "'llama.rope.dimension_count' must be an integer in [16, 16], found 8"},
        BadMetadata{"UnknownStretching",
                    [](GgufBuilder& b) { b.String("llama.rope.scaling.type", "longrope"); },
                    "'llama.rope.scaling.type' must be \"none\", \"linear\" or \"yarn\""},
        BadMetadata{"EpsilonNan",
                    [](GgufBuilder& b) {
                      b.Remove("llama.attention.layer_norm_rms_epsilon")
                          .Float32("llama.attention.layer_norm_rms_epsilon", NAN);
                    },
                    "'llama.attention.layer_norm_rms_epsilon' must be a number"},
        BadMetadata{"Experts", [](GgufBuilder& b) { b.Uint32("llama.expert_count", 8); },
                    "key 'llama.expert_count' must be absent"},
        BadMetadata{"NotCausal", [](GgufBuilder& b) { b.Bool("llama.attention.causal", false); },
                    "key 'llama.attention.causal' must be true, found false"},
        BadMetadata{"Window", [](GgufBuilder& b) { b.Uint32("llama.attention.sliding_window", 8); },
                    "key 'llama.attention.sliding_window' must be absent"},
        BadMetadata{"SplitModel", [](GgufBuilder& b) { b.Uint32("split.count", 3); },
                    "merge the files of a split model"},
        BadMetadata{"EndTokenOutside",
                    [](GgufBuilder& b) { b.Uint32("tokenizer.ggml.eos_token_id", 4); },
                    "'tokenizer.ggml.eos_token_id' must be an integer in [0, 3], found 4"},
        BadMetadata{"RotationFactorsOfAnotherLength",
                    [](GgufBuilder& b) { b.OnesF32("rope_freqs.weight", {7}); },
                    "tensor 'rope_freqs.weight' has type F32 and shape [7]"},
        BadMetadata{
            "RotationFactorZero",
            [](GgufBuilder& b) { b.Tensor("rope_freqs.weight", 0, {8}, std::string(32, '\0')); },
            "'rope_freqs.weight' has a factor outside [0.001, 1e+06]"},
        BadMetadata{"RotationFactorTooSmall",
                    [](GgufBuilder& b) {
                      std::string factors = GgufBuilder::Number(1e-39f);
                      for (int i = 1; i < 8; ++i) factors += GgufBuilder::Number(1.0f);
                      b.Tensor("rope_freqs.weight", 0, {8}, factors);
                    },
                    "'rope_freqs.weight' has a factor outside [0.001, 1e+06]"},
        BadMetadata{"StretchBelowOne",
                    [](GgufBuilder& b) { b.Float32("llama.rope.scaling.factor", 1e-38f); },
                    "'llama.rope.scaling.factor' must be 0, for none, or 1 or more, found 1e-38"},
        BadMetadata{"OlderStretchBelowOne",
                    [](GgufBuilder& b) { b.Float32("llama.rope.scale_linear", 0.5f); },
                    "'llama.rope.scale_linear' must be 0, for none, or 1 or more, found 0.5"},
        BadMetadata{"YarnWithoutAFactor",
                    [](GgufBuilder& b) { Yarn(b).Float32("llama.rope.scaling.factor", 0); },
                    "'llama.rope.scaling.factor' must be 1 or more"},
        BadMetadata{"YarnOnABaseOfOne",
                    [](GgufBuilder& b) { Yarn(b).Float32("llama.rope.freq_base", 1); },
                    "'llama.rope.freq_base' must be above 1 with \"yarn\", found 1"},
        BadMetadata{"YarnWithBetasTheWrongWayRound",
                    [](GgufBuilder& b) {
                      Yarn(b)
                          .Float32("llama.rope.scaling.yarn_beta_fast", 1)
                          .Float32("llama.rope.scaling.yarn_beta_slow", 2);
                    },
                    "'llama.rope.scaling.yarn_beta_fast' must be at least yarn_beta_slow"},
        BadMetadata{"RotationFactorsBesidesScaling",
                    [](GgufBuilder& b) {
                      b.OnesF32("rope_freqs.weight", {8}).Float32("llama.rope.scaling.factor", 2);
                    },
                    "'rope_freqs.weight' comes with a scaling of another kind"}),
    [](const auto& suite) { return std::string(suite.param.name); });

TEST(ReadGgufConfig, NeedsTheEmbeddingTable) {
  const std::string bytes = TinyGgufMetadata().Bytes();
  const auto file = ParseGguf(AsBytes(bytes), "m.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(std::string(ReadGgufConfig(*file, "m.gguf").status().message()),
              HasSubstr("m.gguf: lacks tensor 'token_embd.weight'"));
}

TEST(FindGgufFile, TakesAFileOrTheOnlyOneInADirectory) {
  const TempDir dir;
  EXPECT_EQ(*FindGgufFile(dir.path()), "");
  EXPECT_EQ(*FindGgufFile(dir.File("absent")), "");
  dir.Write("a.gguf", "x");
  dir.Write("config.json", "{}");
  EXPECT_EQ(*FindGgufFile(dir.File("a.gguf")), dir.File("a.gguf"));
  EXPECT_EQ(*FindGgufFile(dir.path()), dir.File("a.gguf"));
  dir.Write("b.gguf", "x");
  EXPECT_THAT(std::string(FindGgufFile(dir.path()).status().message()),
              HasSubstr("has more than one GGUF file"));
  dir.Write("model.safetensors", "x");
  EXPECT_EQ(*FindGgufFile(dir.path()), "");
}

TEST(LoadModelConfig, TellsWhatIsWrongWithAGgufFile) {
  const TempDir dir;
  dir.Write("a.gguf", "GGUF");
  EXPECT_THAT(std::string(LoadModelConfig(dir.path()).status().message()),
              HasSubstr("a.gguf: the version needs 4 bytes"));
  EXPECT_TRUE(absl::IsNotFound(LoadModelConfig(dir.File("b.gguf")).status()));
}

}  // namespace
}  // namespace quire
