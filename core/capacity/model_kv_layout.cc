#include "core/capacity/model_kv_layout.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "kernels/api/ops.h"

namespace quire {
namespace {

constexpr int32_t kBlockTokensUnit = 16;

bool IsBlockSize(int32_t tokens) {
  return tokens > 0 && tokens % kBlockTokensUnit == 0 && kernels::kAttentionSplit % tokens == 0;
}

// Of a layer's KV; 0 where every token is kept.
int32_t CacheWindow(const LayerShape& shape, int32_t context_tokens) {
  return shape.window < context_tokens ? shape.window : 0;
}

// Of the first layer that has attention.
int32_t FirstWindow(const ModelConfig& config, int32_t context_tokens) {
  for (int32_t l = 0; l < config.num_layers; ++l) {
    if (config.Layer(l).kv_groups > 0) return CacheWindow(config.Layer(l), context_tokens);
  }
  return 0;
}

}  // namespace

absl::Status ValidateBlockTokens(int32_t block_tokens) {
  if (IsBlockSize(block_tokens)) return absl::OkStatus();
  std::string allowed;
  for (int32_t tokens = kBlockTokensUnit; tokens <= kernels::kAttentionSplit;
       tokens += kBlockTokensUnit) {
    if (IsBlockSize(tokens)) absl::StrAppend(&allowed, allowed.empty() ? "" : ", ", tokens);
  }
  return absl::InvalidArgumentError(absl::StrCat("tokens per KV block: ", block_tokens,
                                                 " is not possible; choose one of ", allowed));
}

KvLayout MakeKvLayout(const ModelConfig& config, int32_t block_tokens, kernels::DType dtype) {
  QUIRE_CHECK(IsBlockSize(block_tokens)) << block_tokens << " tokens a block";
  KvLayout layout;
  layout.block_tokens = block_tokens;
  layout.dtype = dtype;
  layout.layers.reserve(config.kv_groups.size());
  for (size_t l = 0; l < config.kv_groups.size(); ++l) {
    layout.layers.push_back({.kv_groups = config.kv_groups[l],
                             .head_dim = config.head_dim,
                             .model_layer = static_cast<int32_t>(l)});
  }
  return layout;
}

absl::StatusOr<kernels::DType> ChooseKvDType(std::optional<kernels::DType> wanted,
                                             kernels::DType compute, kernels::DType narrow) {
  const kernels::DType chosen = wanted.value_or(compute);
  if (chosen == compute || chosen == narrow) return chosen;
  if (kernels::DTypeBytes(chosen) > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a KV cache in ", kernels::DTypeName(chosen), " needs a model that computes in it, and ",
        "this one computes in ", kernels::DTypeName(compute), "; use --kv-dtype auto"));
  }
  return absl::InvalidArgumentError(absl::StrCat("this device has no KV cache in ",
                                                 kernels::DTypeName(chosen), "; use --kv-dtype ",
                                                 kernels::DTypeName(narrow), " or auto"));
}

KvLayouts MakeKvLayouts(const ModelConfig& config, int32_t block_tokens, kernels::DType dtype,
                        int32_t context_tokens) {
  if (context_tokens == 0) context_tokens = config.max_positions;
  const KvLayout all = MakeKvLayout(config, block_tokens, dtype);
  std::map<int32_t, KvLayout> classes;  // by window, so that 0 comes first
  int32_t window = FirstWindow(config, context_tokens);
  for (const KvLayout::Layer& layer : all.layers) {
    const LayerShape shape = config.Layer(layer.model_layer);
    // A layer without attention takes no room, whichever class it is in.
    if (shape.kv_groups > 0) window = CacheWindow(shape, context_tokens);
    KvLayout& layout = classes[window];
    layout.block_tokens = all.block_tokens;
    layout.dtype = all.dtype;
    layout.window = window;
    layout.layers.push_back(layer);
  }
  KvLayouts layouts;
  for (auto& [key, layout] : classes) layouts.push_back(std::move(layout));
  return layouts;
}

}  // namespace quire
