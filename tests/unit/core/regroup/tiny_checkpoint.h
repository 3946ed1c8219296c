#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/regroup/naive_pooling.h"

namespace quire::testing {

inline StoredTensor RandomTensor(std::mt19937_64* random, const std::string& dtype,
                                 std::vector<int64_t> shape) {
  std::normal_distribution<double> normal(0, 0.05);
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  StoredTensor tensor = {dtype, std::move(shape), ""};
  const DType type = dtype == "F32" ? DType::kF32 : dtype == "F16" ? DType::kF16 : DType::kBF16;
  for (int64_t i = 0; i < count; ++i) tensor.data += NaiveRound(normal(*random), type);
  return tensor;
}

// Two layers of four heads of 16 on a hidden size of 24; the tensors that have to do with
// attention, and a few others.
struct TinyModel {
  static constexpr int64_t kHidden = 24;
  static constexpr int64_t kHeads = 4;
  static constexpr int64_t kHeadDim = 16;

  nlohmann::json config;
  StoredTensors tensors;

  static TinyModel Make(uint64_t seed, const std::string& architecture, const std::string& dtype,
                        int64_t groups) {
    TinyModel model;
    model.config = nlohmann::json::parse(R"({"vocab_size": 10, "hidden_size": 24,
      "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16,
      "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": true})");
    model.config["architectures"] = {architecture};
    model.config["num_key_value_heads"] = groups;
    model.config["torch_dtype"] = dtype == "F32"   ? "float32"
                                  : dtype == "F16" ? "float16"
                                                   : "bfloat16";
    std::mt19937_64 random(seed);
    const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
      model.tensors[name] = RandomTensor(&random, dtype, std::move(shape));
    };
    add("model.embed_tokens.weight", {10, kHidden});
    add("model.norm.weight", {kHidden});
    model.tensors["model.rotary_emb.inv_freq"] = RandomTensor(&random, "F32", {kHeadDim / 2});
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix = absl::StrCat("model.layers.", layer, ".self_attn.");
      const int64_t q = kHeads * kHeadDim, kv = groups * kHeadDim;
      add(prefix + "o_proj.weight", {kHidden, q});
      if (architecture == "Phi3ForCausalLM") {
        add(prefix + "qkv_proj.weight", {q + 2 * kv, kHidden});
        continue;
      }
      add(prefix + "q_proj.weight", {q, kHidden});
      add(prefix + "k_proj.weight", {kv, kHidden});
      add(prefix + "v_proj.weight", {kv, kHidden});
      if (architecture == "Qwen3ForCausalLM") add(prefix + "k_norm.weight", {kHeadDim});
      if (architecture != "Qwen2ForCausalLM") continue;
      add(prefix + "q_proj.bias", {q});
      add(prefix + "k_proj.bias", {kv});
      add(prefix + "v_proj.bias", {kv});
    }
    return model;
  }

  // One file, or several with as many tensors each.
  void Write(const TempDir& dir, size_t files = 1) const {
    dir.Write("config.json", config.dump(2) + "\n");
    if (files == 1) return dir.Write("model.safetensors", SafetensorsFile(tensors));
    nlohmann::json map;
    std::vector<StoredTensors> parts(files);
    size_t i = 0;
    for (const auto& [name, tensor] : tensors) {
      map[name] = absl::StrCat("part", i, ".safetensors");
      parts[i][name] = tensor;
      i = (i + 1) % files;
    }
    for (size_t part = 0; part < files; ++part) {
      dir.Write(absl::StrCat("part", part, ".safetensors"), SafetensorsFile(parts[part]));
    }
    dir.Write("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  }
};

}  // namespace quire::testing
