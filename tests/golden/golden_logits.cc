#include "tests/golden/golden_logits.h"

#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/model/mapped_file.h"
#include "core/model/safetensors.h"

namespace quire::testing {
namespace {

constexpr char kDemoModel[] = "quire-demo";
constexpr char kData[] = QUIRE_SOURCE_DIR "/tests/golden/data";

using Entries = std::map<std::string, SafetensorsEntry>;

template <typename T>
std::vector<T> Read(const Entries& entries, const std::string& name) {
  const auto it = entries.find(name);
  QUIRE_CHECK(it != entries.end()) << "no tensor " << name;
  const SafetensorsEntry& entry = it->second;
  QUIRE_CHECK(entry.dtype_name == (std::is_same_v<T, float> ? "F32" : "I32")) << name;
  std::vector<T> values(entry.data.size() / sizeof(T));
  std::memcpy(values.data(), entry.data.data(), entry.data.size());
  return values;
}

}  // namespace

std::vector<std::string> GoldenModels() {
  return {"mha",
          "gqa_wide_f16",
          "mqa_untied_sharded",
          "gqa_llama3_bias",
          "mistral_window",
          "qwen2_window_yarn",
          "qwen3_head_norms",
          "gemma2_softcap_window",
          "gemma3_two_ropes",
          "phi3_longrope_long",
          "phi3_longrope_short",
          "smollm3_no_rope",
          "llama_linear_gelu",
          "deci_groups",
          "nemotron_nas_blocks",
          "openelm_layers",
          kDemoModel};
}

std::string GoldenModelDir(const std::string& model) {
  if (model == kDemoModel) return absl::StrCat(QUIRE_SOURCE_DIR "/deploy/models/", model);
  return absl::StrCat(kData, "/models/", model);
}

std::vector<GoldenPrompt> ReadGoldenPrompts(const std::string& model) {
  const std::string path = absl::StrCat(kData, "/logits/", model, ".safetensors");
  const auto file = MappedFile::Open(path);
  QUIRE_CHECK(file.ok()) << file.status().ToString();
  const auto parsed = ParseSafetensors(file->bytes(), path, {});
  QUIRE_CHECK(parsed.ok()) << parsed.status().ToString();
  Entries entries;
  for (const SafetensorsEntry& entry : *parsed) entries.emplace(entry.name, entry);

  std::vector<GoldenPrompt> prompts;
  for (int i = 0; entries.contains(absl::StrCat("prompt.", i, ".ids")); ++i) {
    const std::string prefix = absl::StrCat("prompt.", i, ".");
    const bool rounded = entries.contains(prefix + "logits_bf16w");
    prompts.push_back({.ids = Read<TokenId>(entries, prefix + "ids"),
                       .logits = Read<float>(entries, prefix + "logits"),
                       .logits_bf16_weights =
                           Read<float>(entries, prefix + (rounded ? "logits_bf16w" : "logits")),
                       .logits_bf16 = Read<float>(entries, prefix + "logits_bf16"),
                       .greedy = Read<TokenId>(entries, prefix + "greedy"),
                       .margin = Read<float>(entries, prefix + "margin")});
  }
  QUIRE_CHECK(!prompts.empty()) << path;
  return prompts;
}

}  // namespace quire::testing
