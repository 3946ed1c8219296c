#include "core/capacity/model_kv_layout.h"

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "kernels/api/ops.h"

namespace quire {
namespace {

constexpr int32_t kBlockTokensUnit = 16;

bool IsBlockSize(int32_t tokens) {
  return tokens > 0 && tokens % kBlockTokensUnit == 0 && kernels::kAttentionSplit % tokens == 0;
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
  for (int32_t groups : config.kv_groups) {
    layout.layers.push_back({.kv_groups = groups, .head_dim = config.head_dim});
  }
  return layout;
}

}  // namespace quire
