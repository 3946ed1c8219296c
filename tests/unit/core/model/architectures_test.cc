#include <cmath>
#include <nlohmann/json.hpp>

#include "core/model/model_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

// What each architecture's config.json means, old spellings and new ones, and what it refuses.

namespace quire {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempDir;

absl::StatusOr<ModelConfig> Load(const json& config) {
  const TempDir dir;
  dir.Write("config.json", config.dump());
  return LoadModelConfig(dir.path());
}

// What all but OpenELM write in the same way; `more` is a JSON merge patch.
json Config(const std::string& architecture, const std::string& more = "{}") {
  json config = json::parse(R"({
    "vocab_size": 100, "hidden_size": 96, "intermediate_size": 64, "num_hidden_layers": 4,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6})");
  config["architectures"] = {architecture};
  config.merge_patch(json::parse(more));
  return config;
}

ModelConfig MustLoad(const json& config) {
  const auto loaded = Load(config);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *loaded : ModelConfig();
}

json WithNull(json config, const char* field) {
  config[field] = nullptr;
  return config;
}

std::vector<int32_t> Windows(const ModelConfig& config) {
  std::vector<int32_t> windows;
  for (int32_t l = 0; l < config.num_layers; ++l) windows.push_back(config.Layer(l).window);
  return windows;
}

TEST(Mistral, HasItsWindowInEveryLayer) {
  const json config = Config("MistralForCausalLM", R"({"sliding_window": 32})");
  EXPECT_THAT(Windows(MustLoad(config)), ElementsAre(32, 32, 32, 32));
  // Transformers' default; a window as long as any context is one all the same.
  EXPECT_THAT(Windows(MustLoad(Config("MistralForCausalLM"))), ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_TRUE(MustLoad(WithNull(config, "sliding_window")).windows.empty());
}

TEST(Qwen2, HasBiasesOnQueriesKeysAndValuesAlone) {
  const ModelConfig config = MustLoad(Config("Qwen2ForCausalLM"));
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.o_bias);
  EXPECT_FALSE(config.mlp_bias);
}

TEST(Qwen2, HasAWindowInTheLayersBehindTheFullOnesWhenItIsSwitchedOn) {
  const std::string off = R"({"sliding_window": 32, "max_window_layers": 3})";
  EXPECT_TRUE(MustLoad(Config("Qwen2ForCausalLM", off)).windows.empty());
  json config = Config("Qwen2ForCausalLM", off);
  config["use_sliding_window"] = true;
  EXPECT_THAT(Windows(MustLoad(config)), ElementsAre(0, 0, 0, 32));
  config["layer_types"] = {"sliding_attention", "full_attention", "full_attention",
                           "full_attention"};
  EXPECT_THAT(Windows(MustLoad(config)), ElementsAre(32, 0, 0, 0));
}

TEST(Qwen, HasTheWindowOfTransformersWhereTheFileHasNone) {
  for (const char* architecture : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    const json config =
        Config(architecture, R"({"use_sliding_window": true, "max_window_layers": 3})");
    EXPECT_THAT(Windows(MustLoad(config)), ElementsAre(0, 0, 0, 4096));
    EXPECT_TRUE(MustLoad(WithNull(config, "sliding_window")).windows.empty());
  }
}

TEST(Qwen3, NormalisesHeadsOf128Elements) {
  const ModelConfig config = MustLoad(Config("Qwen3ForCausalLM"));
  EXPECT_TRUE(config.qk_norm);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_TRUE(MustLoad(Config("Qwen3ForCausalLM", R"({"attention_bias": true})")).o_bias);
}

TEST(Gemma2, CapsScalesAndNormalisesWhereLlamaDoesNot) {
  const ModelConfig config = MustLoad(
      Config("Gemma2ForCausalLM", R"({"sliding_window": 32, "query_pre_attn_scalar": 144})"));
  EXPECT_TRUE(config.norm_weights_plus_one);
  EXPECT_TRUE(config.post_norms);
  EXPECT_TRUE(config.scale_embeddings);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_EQ(config.gate, kernels::GateKind::kGeluTanh);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_FLOAT_EQ(config.attention_scale, 1.0f / 12);
  EXPECT_EQ(config.attention_softcap, 50);
  EXPECT_EQ(config.logit_softcap, 30);
  EXPECT_THAT(Windows(config), ElementsAre(32, 0, 32, 0));
  EXPECT_FALSE(config.window_rope.has_value());
  EXPECT_THAT(Windows(MustLoad(Config("Gemma2ForCausalLM"))), ElementsAre(4096, 0, 4096, 0));
}

TEST(Gemma2, HasNoCapWhereTheFileSaysNull) {
  const ModelConfig config =
      MustLoad(WithNull(Config("Gemma2ForCausalLM", R"({"final_logit_softcapping": 20.0})"),
                        "attn_logit_softcapping"));
  EXPECT_EQ(config.attention_softcap, 0);
  EXPECT_EQ(config.logit_softcap, 20);
}

TEST(Gemma3, RotatesLayersWithAWindowByABaseOfTheirOwnInBothSpellings) {
  const json old_file = Config("Gemma3ForCausalLM", R"({
      "sliding_window": 32, "sliding_window_pattern": 3, "rope_theta": 500000.0,
      "rope_local_base_freq": 2000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})");
  const json new_file = Config("Gemma3ForCausalLM", R"({
      "sliding_window": 32, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2000.0}},
      "layer_types": ["sliding_attention", "sliding_attention", "full_attention",
                      "sliding_attention"]})");
  for (const json& file : {old_file, new_file}) {
    const ModelConfig config = MustLoad(file);
    EXPECT_TRUE(config.qk_norm);
    EXPECT_EQ(config.attention_softcap, 0);
    EXPECT_EQ(config.logit_softcap, 0);
    EXPECT_THAT(Windows(config), ElementsAre(32, 32, 0, 32));
    EXPECT_EQ(config.RopeFor(config.Layer(2)).kind, RopeKind::kLinear);
    EXPECT_EQ(config.RopeFor(config.Layer(2)).theta, 500000);
    EXPECT_EQ(config.RopeFor(config.Layer(2)).factor, 8);
    EXPECT_EQ(config.RopeFor(config.Layer(3)).kind, RopeKind::kDefault);
    EXPECT_EQ(config.RopeFor(config.Layer(3)).theta, 2000);
  }
}

TEST(Gemma3, HasTheWindowAndBasesOfTransformersWhereTheFileHasNone) {
  for (const char* more : {"{}", R"({"rope_parameters": {"full_attention": {}}})"}) {
    const ModelConfig config = MustLoad(Config("Gemma3ForCausalLM", more).patch(json::parse(R"([
            {"op": "add", "path": "/sliding_window_pattern", "value": 4}])")));
    EXPECT_THAT(Windows(config), ElementsAre(4096, 4096, 4096, 0)) << more;
    EXPECT_EQ(config.RopeFor(config.Layer(3)).theta, 1e6) << more;
    EXPECT_EQ(config.RopeFor(config.Layer(0)).theta, 1e4) << more;
  }
}

TEST(Gemma3, RotatesLayersByTheirOwnBaseWhereNoContextOutgrowsTheWindow) {
  for (const char* window : {R"({"sliding_window": 256})", R"({"sliding_window": 1024})"}) {
    const ModelConfig config = MustLoad(Config("Gemma3ForCausalLM", window));
    for (int32_t l = 0; l < 4; ++l) {
      EXPECT_EQ(config.RopeFor(config.Layer(l)).theta, 1e4) << window << " layer " << l;
    }
  }
}

std::string Factors(int count, double value) {
  return json(std::vector<double>(count, value)).dump();
}

TEST(Phi3, StacksProjectionsAndStretchesPartOfAHead) {
  const ModelConfig config = MustLoad(Config("Phi3ForCausalLM", R"({
      "num_attention_heads": 3, "num_key_value_heads": 3, "partial_rotary_factor": 0.75,
      "original_max_position_embeddings": 64, "sliding_window": 32,
      "rope_scaling": {"type": "su", "short_factor": )" + Factors(12, 1.5) +
                                                                    R"(, "long_factor": )" +
                                                                    Factors(12, 4) + "}}"));
  EXPECT_THAT(config.tensors.qkv, ElementsAre("self_attn.qkv_proj"));
  EXPECT_THAT(config.tensors.gate_up, ElementsAre("mlp.gate_up_proj"));
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.rope.rotary_dim, 24);
  EXPECT_EQ(config.rope.kind, RopeKind::kLongRope);
  EXPECT_EQ(config.rope.original_max_positions, 64);
  EXPECT_EQ(config.rope.short_factors, std::vector<double>(12, 1.5));
  EXPECT_EQ(config.rope.long_factors, std::vector<double>(12, 4));
  // 4 times the original length of 64
  EXPECT_DOUBLE_EQ(config.rope.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(64.0)));
  EXPECT_THAT(Windows(config), ElementsAre(32, 32, 32, 32));
  EXPECT_TRUE(MustLoad(Config("Phi3ForCausalLM")).windows.empty());
}

TEST(SmolLm3, LeavesPositionsOutOfSomeLayers) {
  const auto rotating = [](const ModelConfig& config) {
    std::vector<bool> rotates;
    for (int32_t l = 0; l < config.num_layers; ++l) rotates.push_back(config.Layer(l).rotates);
    return rotates;
  };
  const ModelConfig plain = MustLoad(Config("SmolLM3ForCausalLM"));
  EXPECT_THAT(rotating(plain), ElementsAre(true, true, true, false));
  EXPECT_TRUE(plain.tie_word_embeddings);
  EXPECT_EQ(plain.rope.theta, 2e6);
  const ModelConfig listed = MustLoad(Config("SmolLM3ForCausalLM", R"({
      "no_rope_layers": [0, 1, 1, 0], "use_sliding_window": true, "sliding_window": 8})"));
  EXPECT_THAT(rotating(listed), ElementsAre(false, true, true, false));
  EXPECT_THAT(Windows(listed), ElementsAre(8, 0, 0, 8));
  EXPECT_TRUE(
      MustLoad(Config("SmolLM3ForCausalLM", R"({"use_sliding_window": true})")).windows.empty());
}

TEST(KvGroups, MayDifferFromLayerToLayerWhereverThereIsOneFieldForThem) {
  for (const std::string architecture :
       {"Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3", "Phi3", "SmolLM3"}) {
    const ModelConfig config =
        MustLoad(Config(architecture + "ForCausalLM", R"({"num_key_value_heads": [6, 1, 2, 3]})"));
    EXPECT_THAT(config.kv_groups, ElementsAre(6, 1, 2, 3)) << architecture;
    EXPECT_EQ(config.num_heads, 6);
  }
}

TEST(DeciLm, ReadsGroupsAsAList) {
  const ModelConfig config =
      MustLoad(Config("DeciLMForCausalLM", R"({"num_key_value_heads_per_layer": [6, 1, 2, 3]})"));
  EXPECT_THAT(config.kv_groups, ElementsAre(6, 1, 2, 3));
  EXPECT_EQ(config.Layer(1).num_heads, 6);
  EXPECT_EQ(config.Layer(1).intermediate_size, 64);
}

constexpr char kBlocks[] = R"({"num_key_value_heads": null, "intermediate_size": null,
  "block_configs": [
    {"attention": {"n_heads_in_group": 6, "no_op": false, "replace_with_linear": false},
     "ffn": {"ffn_mult": 5.25, "no_op": false, "replace_with_linear": false}},
    {"attention": {"n_heads_in_group": null, "no_op": true, "replace_with_linear": false},
     "ffn": {"ffn_mult": 1.3125, "no_op": false, "replace_with_linear": false}},
    {"attention": {"n_heads_in_group": 2, "window_length": null},
     "ffn": {"ffn_mult": null, "no_op": true}},
    {"attention": {"n_heads_in_group": 1}, "ffn": {"ffn_mult": 4.0, "sparsify": null}}]})";

TEST(DeciLm, ReadsBlockConfigsOfNemotronNas) {
  const ModelConfig config = MustLoad(Config("DeciLMForCausalLM", kBlocks));
  EXPECT_THAT(config.kv_groups, ElementsAre(1, 0, 3, 6));
  // 2 / 3 of 5.25 * 96 is 336, of 1.3125 * 96 is 84 and of 4 * 96 is 256; multiples of 256
  EXPECT_THAT(config.layer_intermediate_sizes, ElementsAre(512, 256, 0, 256));
  EXPECT_EQ(config.intermediate_size, 512);
  EXPECT_EQ(config.num_heads, 6);
}

json OpenElm(const std::string& more = "{}") {
  json config = json::parse(R"({
    "architectures": ["OpenELMForCausalLM"], "vocab_size": 100, "model_dim": 96,
    "num_transformer_layers": 3, "max_context_length": 256, "head_dim": 16,
    "num_query_heads": [4, 8, 12], "num_kv_heads": [2, 2, 3], "ffn_multipliers": [0.5, 1.7, 4.0],
    "ffn_dim_divisor": 32, "ffn_with_glu": true, "normalize_qk_projections": true,
    "activation_fn_name": "swish", "normalization_layer_name": "rms_norm",
    "share_input_output_layers": true, "rope_freq_constant": 5000})");
  config.merge_patch(json::parse(more));
  return config;
}

TEST(OpenElm, ReadsHeadsGroupsAndSizesAsLists) {
  const ModelConfig config = MustLoad(OpenElm());
  EXPECT_EQ(config.hidden_size, 96);
  EXPECT_EQ(config.num_heads, 12);
  EXPECT_THAT(config.layer_heads, ElementsAre(4, 8, 12));
  EXPECT_THAT(config.kv_groups, ElementsAre(2, 2, 3));
  // 48 goes up to 64 (half way), 163.2 down to 160, 384 is a multiple of 32
  EXPECT_THAT(config.layer_intermediate_sizes, ElementsAre(64, 160, 384));
  EXPECT_TRUE(config.qk_norm);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config.rope.theta, 5000);
  EXPECT_EQ(config.tensors.embedding, "transformer.token_embeddings");
}

TEST(Rope, YarnScalesAttentionByTheLogarithmOfTheStretch) {
  const std::string yarn = R"("rope_type": "yarn", "original_max_position_embeddings": 64)";
  const struct {
    std::string more;
    double factor;
    double attention;
  } cases[] = {{"", 4, 0.1 * std::log(4.0) + 1},
               {R"(, "factor": 8)", 8, 0.1 * std::log(8.0) + 1},
               {R"(, "factor": 8, "attention_factor": 1.5)", 8, 1.5},
               {R"(, "factor": 8, "mscale": 0.5, "mscale_all_dim": 1)", 8,
                (0.05 * std::log(8.0) + 1) / (0.1 * std::log(8.0) + 1)}};
  for (const auto& c : cases) {
    const ModelConfig config =
        MustLoad(Config("LlamaForCausalLM", "{\"rope_scaling\": {" + yarn + c.more + "}}"));
    EXPECT_EQ(config.rope.kind, RopeKind::kYarn);
    EXPECT_EQ(config.rope.original_max_positions, 64);
    EXPECT_DOUBLE_EQ(config.rope.factor, c.factor) << c.more;
    EXPECT_DOUBLE_EQ(config.rope.attention_factor, c.attention) << c.more;
  }
}

struct Refusal {
  const char* architecture;
  const char* change;  // a JSON merge patch
  const char* message;
};

class ArchitectureRefuses : public ::testing::TestWithParam<Refusal> {};

TEST_P(ArchitectureRefuses, AndNamesTheField) {
  const std::string architecture = GetParam().architecture;
  json config = architecture == "OpenELM" ? OpenElm() : Config(architecture + "ForCausalLM");
  config.merge_patch(json::parse(GetParam().change));
  const auto loaded = Load(config);
  ASSERT_TRUE(absl::IsInvalidArgument(loaded.status())) << GetParam().change << loaded.status();
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, ArchitectureRefuses,
    ::testing::Values(
        Refusal{"Mistral", R"({"sliding_window": 0})", "'sliding_window' must be an integer"},
        Refusal{"Mistral", R"({"sliding_window": -4})", "'sliding_window'"},
        Refusal{"Mistral", R"({"sliding_window": 8, "layer_types": ["full_attention",
                "sliding_attention", "sliding_attention", "sliding_attention"]})",
                "'layer_types' must be the same for every layer"},
        Refusal{"Qwen2", R"({"layer_types": ["sliding_attention"]})",
                "'layer_types' must be a list with an entry for each of 4 layers"},
        Refusal{"Qwen2", R"({"layer_types": ["chunked_attention", "full_attention",
                "full_attention", "full_attention"]})",
                "the kinds that are supported"},
        Refusal{"Qwen2", R"({"layer_types": ["sliding_attention", "full_attention",
                "full_attention", "full_attention"]})",
                "'use_sliding_window' must be true, since layer_types asks for windows"},
        Refusal{"SmolLM3", R"({"use_sliding_window": true, "layer_types": ["sliding_attention",
                "full_attention", "full_attention", "full_attention"]})",
                "'sliding_window' must be given, since layer_types asks for it"},
        Refusal{"Qwen2", R"({"max_window_layers": "all"})", "'max_window_layers'"},
        Refusal{"Qwen2", R"({"partial_rotary_factor": 0.5})", "'partial_rotary_factor' must be 1"},
        Refusal{"Qwen3", R"({"head_dim": 40})", "multiple of 16"},
        Refusal{"Gemma2", R"({"hidden_activation": "relu"})", "'hidden_activation'"},
        Refusal{"Gemma2", R"({"attn_logit_softcapping": -1})", "'attn_logit_softcapping'"},
        Refusal{"Gemma2", R"({"query_pre_attn_scalar": 0})", "'query_pre_attn_scalar'"},
        Refusal{"Gemma3", R"({"attn_logit_softcapping": 50.0})", "'attn_logit_softcapping'"},
        Refusal{"Gemma3", R"({"sliding_window_pattern": 0})", "'sliding_window_pattern'"},
        Refusal{"Gemma3", R"({"rope_parameters": {"sliding_attention": 4}})",
                "'sliding_attention' must be an object"},
        Refusal{"Phi3", R"({"partial_rotary_factor": 0.07})", "'partial_rotary_factor'"},
        Refusal{"Phi3", R"({"rope_scaling": {"type": "su"}})", "'short_factor'"},
        Refusal{"SmolLM3", R"({"no_rope_layers": [1, 1]})", "'no_rope_layers'"},
        Refusal{"SmolLM3", R"({"no_rope_layers": [1, 1, 2, 0]})", "a list of 0 and 1"},
        Refusal{"DeciLM", "{}", "'num_key_value_heads_per_layer' must be a list"},
        Refusal{"DeciLM", R"({"num_key_value_heads_per_layer": [6, 4, 2, 2]})",
                "a list of divisors of num_attention_heads, 6"},
        Refusal{"DeciLM", R"({"num_key_value_heads_per_layer": [6, 0, 2, 2]})", "in [1, 6]"},
        Refusal{"DeciLM", R"({"num_key_value_heads_per_layer": [6, 18446744073709551615, 2, 2]})",
                "in [1, 6]"},
        Refusal{"DeciLM", R"({"num_key_value_heads": [1, 1, 1, 1],
                "num_key_value_heads_per_layer": [1, 1, 1, 1]})",
                "'num_key_value_heads' must be one number"},
        Refusal{"DeciLM", R"({"block_configs": [1, 2, 3, 4]})", "block_configs[0]"},
        Refusal{"DeciLM", R"({"block_configs": [{}, {}, {}, {}]})",
                "block_configs[0]: field 'attention' must be an object"},
        Refusal{"DeciLM", R"({"block_configs": [{"attention": {"replace_with_linear": true}},
                {}, {}, {}]})",
                "block_configs[0].attention: field 'replace_with_linear'"},
        Refusal{"DeciLM", R"({"block_configs": [{"attention": {"n_heads_in_group": 4}},
                {}, {}, {}]})",
                "'n_heads_in_group' must be a divisor"},
        Refusal{"DeciLM", R"({"block_configs": [{"attention": {"n_heads_in_group": 6},
                "ffn": {"ffn_mult": 1e300}}, {}, {}, {}]})",
                "block_configs[0].ffn: field 'ffn_mult'"},
        Refusal{"DeciLM", R"({"block_configs": [
                {"attention": {"no_op": true}, "ffn": {"no_op": true}},
                {"attention": {"no_op": true}, "ffn": {"no_op": true}},
                {"attention": {"no_op": true}, "ffn": {"no_op": true}},
                {"attention": {"no_op": true}, "ffn": {"no_op": true}}]})",
                "at least one layer has attention"},
        Refusal{"OpenELM", R"({"head_dim": 24})", "the head dimension must be a multiple of 16"},
        Refusal{"OpenELM", R"({"num_kv_heads": [3, 2, 3]})", "layer 0 has 4 heads"},
        Refusal{"OpenELM", R"({"num_query_heads": [4, 8]})", "'num_query_heads' must be a list"},
        Refusal{"OpenELM", R"({"ffn_multipliers": [0.5, "x", 4.0]})", "'ffn_multipliers'"},
        Refusal{"OpenELM", R"({"ffn_multipliers": [0.5, 1e308, 4.0]})", "'ffn_multipliers'"},
        Refusal{"OpenELM", R"({"ffn_with_glu": false})", "'ffn_with_glu' must be true"},
        Refusal{"OpenELM", R"({"activation_fn_name": "gelu"})", "'activation_fn_name'"},
        Refusal{"OpenELM", R"({"normalization_layer_name": "layer_norm"})",
                "'normalization_layer_name' must be \"rms_norm\""}));

}  // namespace
}  // namespace quire
