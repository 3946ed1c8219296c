#include "core/model/weights.h"

#include <cmath>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/api/float_convert.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/model/recording_device.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire {
namespace {

using kernels::DType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RecordedWeights;
using testing::RecordingDevice;
using testing::SafetensorsBytes;
using testing::TempDir;

// 2 layers, hidden 4, 2 heads of 2, 1 group, intermediate 3, vocabulary 5.
ModelConfig TinyConfig() {
  ModelConfig c;
  c.vocab_size = 5;
  c.hidden_size = 4;
  c.intermediate_size = 3;
  c.num_layers = 2;
  c.num_heads = 2;
  c.kv_groups = {1, 1};
  c.head_dim = 2;
  c.max_positions = 64;
  return c;
}

struct Tensor {
  std::vector<int64_t> shape;
  std::string dtype = "F32";
  float value = 0;  // of every element, if F32
};

std::map<std::string, Tensor> TinyTensors(const ModelConfig& config) {
  std::map<std::string, Tensor> tensors = {{"model.embed_tokens.weight", {{5, 4}, "F32", 1}},
                                           {"model.norm.weight", {{4}, "F32", 2}}};
  if (!config.tie_word_embeddings) tensors["lm_head.weight"] = {{5, 4}, "F32", 3};
  float value = 10;
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    const auto add = [&](const char* name, std::vector<int64_t> shape, bool bias) {
      tensors[layer + name + ".weight"] = {shape, "F32", value++};
      if (bias) tensors[layer + name + ".bias"] = {{shape[0]}, "F32", value++};
    };
    add("input_layernorm", {4}, false);
    add("self_attn.q_proj", {4, 4}, config.qkv_bias);
    add("self_attn.k_proj", {2, 4}, config.qkv_bias);
    add("self_attn.v_proj", {2, 4}, config.qkv_bias);
    add("self_attn.o_proj", {4, 4}, config.o_bias);
    add("post_attention_layernorm", {4}, false);
    add("mlp.gate_proj", {3, 4}, config.mlp_bias);
    add("mlp.up_proj", {3, 4}, config.mlp_bias);
    add("mlp.down_proj", {4, 3}, config.mlp_bias);
  }
  return tensors;
}

std::string CheckpointBytes(const std::map<std::string, Tensor>& tensors) {
  std::string header = "{";
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    const size_t begin = data.size();
    if (tensor.dtype == "F32") {
      for (int64_t i = 0; i < elements; ++i) {
        data.append(reinterpret_cast<const char*>(&tensor.value), sizeof(float));
      }
    } else {
      data.append(static_cast<size_t>(elements), '\0');  // one byte an element
    }
    absl::StrAppend(&header, header.size() > 1 ? "," : "", "\"", name, "\":{\"dtype\":\"",
                    tensor.dtype, "\",\"shape\":", ShapeName(tensor.shape), ",\"data_offsets\":[",
                    begin, ",", data.size(), "]}");
  }
  return SafetensorsBytes(header + "}", data);
}

class LoadWeightsTest : public ::testing::Test {
 protected:
  absl::StatusOr<ModelWeights> Load(const ModelConfig& config,
                                    const std::map<std::string, Tensor>& tensors) {
    dir_.Write("model.safetensors", CheckpointBytes(tensors));
    auto source = CheckpointSource::Open(dir_.path());
    if (!source.ok()) return source.status();
    return LoadWeights(config, source->get(), &device_, DType::kF32, nullptr);
  }
  void ExpectRefused(const std::map<std::string, Tensor>& tensors, const std::string& message,
                     const ModelConfig& config = TinyConfig()) {
    const auto weights = Load(config, tensors);
    EXPECT_TRUE(absl::IsInvalidArgument(weights.status())) << weights.status();
    EXPECT_THAT(std::string(weights.status().message()), HasSubstr(message));
  }
  static std::vector<float> Floats(const kernels::PackedWeights& weights) {
    const std::string& content = dynamic_cast<const RecordedWeights&>(weights).content;
    std::vector<float> values(content.size() / sizeof(float));
    std::memcpy(values.data(), content.data(), content.size());
    return values;
  }
  static std::vector<float> Floats(const kernels::DeviceBuffer& buffer) {
    return {buffer.as<float>(), buffer.as<float>() + buffer.bytes() / sizeof(float)};
  }

  TempDir dir_;
  RecordingDevice device_;
};

TEST_F(LoadWeightsTest, StacksWhatIsMultipliedTogether) {
  const ModelConfig config = TinyConfig();
  std::map<std::string, Tensor> tensors = TinyTensors(config);
  const auto weights = Load(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status();
  ASSERT_EQ(weights->layers.size(), 2u);
  const std::string layer = "model.layers.1.";
  std::vector<float> qkv(16, tensors[layer + "self_attn.q_proj.weight"].value);
  qkv.insert(qkv.end(), 8, tensors[layer + "self_attn.k_proj.weight"].value);
  qkv.insert(qkv.end(), 8, tensors[layer + "self_attn.v_proj.weight"].value);
  EXPECT_EQ(Floats(*weights->layers[1].attention.qkv.matrix), qkv);
  EXPECT_EQ(weights->layers[1].attention.qkv.matrix->rows(), 8);
  std::vector<float> gate_up(12, tensors[layer + "mlp.gate_proj.weight"].value);
  gate_up.insert(gate_up.end(), 12, tensors[layer + "mlp.up_proj.weight"].value);
  EXPECT_EQ(Floats(*weights->layers[1].feed_forward.gate_up.matrix), gate_up);
  EXPECT_EQ(Floats(weights->layers[1].feed_forward.norm),
            std::vector<float>(4, tensors[layer + "post_attention_layernorm.weight"].value));
  EXPECT_EQ(Floats(weights->final_norm), std::vector<float>(4, 2));
  EXPECT_EQ(weights->layers[1].attention.qkv.bias_data(), nullptr);
}

TEST_F(LoadWeightsTest, StacksBiasesAsTheirMatrices) {
  ModelConfig config = TinyConfig();
  config.qkv_bias = true;
  config.o_bias = true;
  config.mlp_bias = true;
  std::map<std::string, Tensor> tensors = TinyTensors(config);
  const auto weights = Load(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const std::string attention = "model.layers.0.self_attn.";
  const float q = tensors[attention + "q_proj.bias"].value;
  const float k = tensors[attention + "k_proj.bias"].value;
  const float v = tensors[attention + "v_proj.bias"].value;
  EXPECT_THAT(Floats(weights->layers[0].attention.qkv.bias), ElementsAre(q, q, q, q, k, k, v, v));
  EXPECT_EQ(weights->layers[0].attention.o.bias.bytes(), 4 * sizeof(float));
  EXPECT_EQ(weights->layers[0].feed_forward.gate_up.bias.bytes(), 6 * sizeof(float));
  EXPECT_EQ(weights->layers[0].feed_forward.down.bias.bytes(), 4 * sizeof(float));
}

TEST_F(LoadWeightsTest, ReadsProjectionsThatAreStoredStacked) {
  ModelConfig config = TinyConfig();
  config.tensors.qkv = {"self_attn.qkv_proj"};
  config.tensors.gate_up = {"mlp.gate_up_proj"};
  std::map<std::string, Tensor> tensors = TinyTensors(config);
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "mlp.gate_proj", "mlp.up_proj"}) {
      tensors.erase(layer + part + ".weight");
    }
    tensors[layer + "self_attn.qkv_proj.weight"] = {{8, 4}, "F32", 91};
    tensors[layer + "mlp.gate_up_proj.weight"] = {{6, 4}, "F32", 92};
  }
  const auto weights = Load(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(Floats(*weights->layers[1].attention.qkv.matrix), std::vector<float>(32, 91));
  EXPECT_EQ(Floats(*weights->layers[1].feed_forward.gate_up.matrix), std::vector<float>(24, 92));
  tensors["model.layers.0.mlp.gate_up_proj.weight"].shape = {3, 4};
  ExpectRefused(tensors, "config.json makes it [6, 4]", config);
}

// All that Gemma 3 adds: norms behind the blocks and of heads, stored less one.
TEST_F(LoadWeightsTest, ReadsAllNormsOfAModelThatStoresThemLessOne) {
  ModelConfig config = TinyConfig();
  config.norm_weights_plus_one = true;
  config.post_norms = true;
  config.qk_norm = true;
  config.tensors.mlp_norm = "pre_feedforward_layernorm";
  std::map<std::string, Tensor> tensors = TinyTensors(config);
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    tensors[layer + "post_attention_layernorm.weight"] = {{4}, "F32", 50};
    tensors[layer + "pre_feedforward_layernorm.weight"] = {{4}, "F32", 51};
    tensors[layer + "post_feedforward_layernorm.weight"] = {{4}, "F32", 52};
    tensors[layer + "self_attn.q_norm.weight"] = {{2}, "F32", 53};
    tensors[layer + "self_attn.k_norm.weight"] = {{2}, "F32", -0.5f};
  }
  const auto weights = Load(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const LayerWeights& layer = weights->layers[1];
  EXPECT_EQ(Floats(layer.attention.post_norm), std::vector<float>(4, 51));
  EXPECT_EQ(Floats(layer.feed_forward.norm), std::vector<float>(4, 52));
  EXPECT_EQ(Floats(layer.feed_forward.post_norm), std::vector<float>(4, 53));
  EXPECT_EQ(Floats(layer.attention.q_norm), std::vector<float>(2, 54));
  EXPECT_EQ(Floats(layer.attention.k_norm), std::vector<float>(2, 0.5f));
  EXPECT_EQ(Floats(weights->final_norm), std::vector<float>(4, 3));
  EXPECT_EQ(weights->DeviceBytes(), config.NumParameters() * 4);
}

TEST_F(LoadWeightsTest, LoadsNothingForBlocksThatALayerLacks) {
  ModelConfig config = TinyConfig();
  config.kv_groups = {0, 1};
  config.layer_intermediate_sizes = {3, 0};
  std::map<std::string, Tensor> tensors = TinyTensors(config);
  for (const char* name : {"input_layernorm", "self_attn.q_proj", "self_attn.k_proj",
                           "self_attn.v_proj", "self_attn.o_proj"}) {
    tensors.erase(std::string("model.layers.0.") + name + ".weight");
  }
  for (const char* name :
       {"post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    tensors.erase(std::string("model.layers.1.") + name + ".weight");
  }
  const auto weights = Load(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->layers[0].attention.qkv.matrix, nullptr);
  EXPECT_EQ(weights->layers[1].feed_forward.down.matrix, nullptr);
  EXPECT_EQ(weights->DeviceBytes(), config.NumParameters() * 4);
  tensors["model.layers.0.input_layernorm.weight"] = {{4}, "F32", 0};
  ExpectRefused(tensors, "holds tensor 'model.layers.0.input_layernorm.weight'", config);
}

TEST_F(LoadWeightsTest, KeepsAnOutputLayerOfItsOwnOnlyWhenItIsNotTied) {
  ModelConfig config = TinyConfig();
  const auto untied = Load(config, TinyTensors(config));
  ASSERT_TRUE(untied.ok()) << untied.status();
  EXPECT_EQ(Floats(untied->lm_head()), std::vector<float>(20, 3));

  std::map<std::string, Tensor> with_copy = TinyTensors(config);
  config.tie_word_embeddings = true;
  const auto tied = Load(config, with_copy);
  ASSERT_TRUE(tied.ok()) << tied.status();
  EXPECT_EQ(&tied->lm_head(), tied->embedding.get());
  EXPECT_EQ(Floats(tied->lm_head()), std::vector<float>(20, 1));
  EXPECT_EQ(untied->DeviceBytes() - tied->DeviceBytes(), 20 * 4);
}

TEST_F(LoadWeightsTest, AccountsForEveryByteItPutsOnTheDevice) {
  ModelConfig config = TinyConfig();
  config.qkv_bias = true;
  config.o_bias = true;
  const auto weights = Load(config, TinyTensors(config));
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->DeviceBytes(), config.NumParameters() * 4);
}

TEST_F(LoadWeightsTest, RefusesAMissingTensor) {
  for (const auto& [name, tensor] : TinyTensors(TinyConfig())) {
    std::map<std::string, Tensor> tensors = TinyTensors(TinyConfig());
    tensors.erase(name);
    ExpectRefused(tensors, "lacks tensor '" + name + "' of shape " + ShapeName(tensor.shape));
  }
}

TEST_F(LoadWeightsTest, RefusesAnyOtherShape) {
  for (const auto& [name, tensor] : TinyTensors(TinyConfig())) {
    std::map<std::string, Tensor> tensors = TinyTensors(TinyConfig());
    tensors[name].shape.back() += 1;
    ExpectRefused(tensors, "tensor '" + name + "' has shape " + ShapeName(tensors[name].shape));
    tensors[name].shape = {1, tensor.shape.back(), 1};
    ExpectRefused(tensors, "config.json makes it " + ShapeName(tensor.shape));
  }
}

TEST_F(LoadWeightsTest, RefusesATypeItCannotRead) {
  std::map<std::string, Tensor> tensors = TinyTensors(TinyConfig());
  tensors["model.layers.0.mlp.up_proj.weight"].dtype = "I8";
  ExpectRefused(tensors, "tensor 'model.layers.0.mlp.up_proj.weight' has type I8");
}

TEST_F(LoadWeightsTest, RefusesParametersThatTheConfigurationHasNoUseFor) {
  for (const char* name :
       {"model.layers.0.self_attn.q_proj.bias", "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_norm.weight", "model.layers.0.mlp.up_proj.weight_scale",
        "model.steps"}) {
    std::map<std::string, Tensor> tensors = TinyTensors(TinyConfig());
    tensors[name] = {{4}, "F32", 0};
    ExpectRefused(tensors, std::string("holds tensor '") + name + "'");
  }
}

TEST_F(LoadWeightsTest, IgnoresFrequenciesThatOldCheckpointsStore) {
  std::map<std::string, Tensor> tensors = TinyTensors(TinyConfig());
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{1}, "F32", 1};
  tensors["model.rotary_emb.inv_freq"] = {{1}, "U8", 1};
  EXPECT_TRUE(Load(TinyConfig(), tensors).ok());
}

TEST_F(LoadWeightsTest, SaysThatTheDeviceIsOutOfMemory) {
  device_.memory_limit = 40;
  const auto weights = Load(TinyConfig(), TinyTensors(TinyConfig()));
  EXPECT_TRUE(absl::IsResourceExhausted(weights.status())) << weights.status();
}

TEST(WeightFormats, TheTableAndTheHeadStayIn8BitsBesideLayersIn4) {
  using kernels::WeightFormat;
  RecordingDevice device;
  RandomSource source(1);
  for (const WeightFormat format :
       {WeightFormat::kDense, WeightFormat::kInt8, WeightFormat::kInt4}) {
    const auto weights = LoadWeights(TinyConfig(), &source, &device, DType::kBF16, nullptr, format);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const auto format_of = [](const kernels::PackedWeights& matrix) {
      return dynamic_cast<const RecordedWeights&>(matrix).format;
    };
    const WeightFormat of_tables = format == WeightFormat::kInt4 ? WeightFormat::kInt8 : format;
    EXPECT_EQ(format_of(*weights->embedding), of_tables);
    EXPECT_EQ(format_of(weights->lm_head()), of_tables);
    for (const LayerWeights& layer : weights->layers) {
      EXPECT_EQ(format_of(*layer.attention.qkv.matrix), format);
      EXPECT_EQ(format_of(*layer.attention.o.matrix), format);
      EXPECT_EQ(format_of(*layer.feed_forward.gate_up.matrix), format);
      EXPECT_EQ(format_of(*layer.feed_forward.down.matrix), format);
    }
  }
}

TEST(LoadProgress, GrowsToTheTotal) {
  RecordingDevice device;
  RandomSource source(1);
  std::vector<int64_t> done;
  int64_t total = 0;
  const auto weights =
      LoadWeights(TinyConfig(), &source, &device, DType::kBF16, [&](int64_t now, int64_t all) {
        done.push_back(now);
        total = all;
      });
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(total, TinyConfig().NumParameters() * 2);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), total);
}

std::vector<float> RandomTensor(RandomSource* source, const std::string& name, int64_t cols) {
  const TensorSpec spec = {.name = name, .rows = 1, .cols = cols};
  const auto matrices = source->Fetch({&spec, 1});
  std::vector<float> values(static_cast<size_t>(cols));
  kernels::ConvertToFloat((*matrices)[0].data, (*matrices)[0].dtype, values.size(), values.data());
  return values;
}

TEST(RandomSource, DependsOnSeedAndNameAlone) {
  RandomSource a(1);
  RandomSource b(1);
  RandomSource c(2);
  const std::vector<float> x = RandomTensor(&a, "x", 7);
  RandomTensor(&b, "y", 1000);
  EXPECT_EQ(RandomTensor(&b, "x", 7), x);
  EXPECT_NE(RandomTensor(&c, "x", 7), x);
  EXPECT_NE(RandomTensor(&a, "y", 7), x);
}

TEST(RandomSource, HasTheStatedSpreadAndNormsOfOne) {
  RandomSource source(3);
  double sum = 0;
  double squares = 0;
  constexpr int kCount = 100003;
  for (const float v : RandomTensor(&source, "x", kCount)) {
    sum += v;
    squares += double{v} * v;
  }
  EXPECT_NEAR(sum / kCount, 0, 3e-4);
  EXPECT_NEAR(std::sqrt(squares / kCount), 0.02, 2e-4);
  EXPECT_EQ(RandomTensor(&source, "a.layernorm.weight", 5), std::vector<float>(5, 1));
}

}  // namespace
}  // namespace quire
