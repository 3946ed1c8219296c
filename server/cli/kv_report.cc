#include "server/cli/kv_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

const char* KindName(AttentionShape::Kind kind) {
  switch (kind) {
    case AttentionShape::Kind::kMha:
      return "MHA";
    case AttentionShape::Kind::kMqa:
      return "MQA";
    case AttentionShape::Kind::kGqa:
      break;
  }
  return "GQA";
}

std::string Range(int32_t min, int32_t max) {
  return min == max ? absl::StrCat(min) : absl::StrCat(min, " to ", max);
}

// The sum that a block's size is, spelled out where every layer is the same.
std::string TokenBytesSum(const KvLayout& layout) {
  const KvLayout::Layer& first = layout.layers.front();
  const bool uniform =
      std::all_of(layout.layers.begin(), layout.layers.end(), [&](const KvLayout::Layer& layer) {
        return layer.kv_groups == first.kv_groups && layer.head_dim == first.head_dim;
      });
  if (!uniform) return "";
  std::string row = absl::StrFormat("%d x %d %s", first.head_dim, kernels::DTypeBytes(layout.dtype),
                                    kernels::DTypeBytes(layout.dtype) == 1 ? "byte" : "bytes");
  if (const size_t scale = kernels::KvScaleBytes(layout.dtype); scale > 0) {
    row = absl::StrFormat("(%s + %d of scale)", row, scale);
  }
  return absl::StrFormat("  = %d layers x K and V x %d groups x %s (%s)", layout.layers.size(),
                         first.kv_groups, row, kernels::DTypeName(layout.dtype));
}

}  // namespace

std::string DescribeAttention(const ModelConfig& config) {
  const AttentionShape shape = ShapeOfAttention(config);
  const int32_t heads = config.num_heads;
  return absl::StrFormat("%s: %d query heads, %s KV %s, %s query %s per group (MHA = %d, MQA = 1)",
                         KindName(shape.kind), heads, Range(shape.min_groups, shape.max_groups),
                         shape.max_groups == 1 ? "group" : "groups",
                         Range(shape.min_q_per_group, shape.max_q_per_group),
                         shape.max_q_per_group == 1 ? "head" : "heads", heads);
}

void PrintModel(const ModelConfig& config, const KvLayouts& classes, std::ostream& out) {
  const auto line = [&out](const char* name, const std::string& value) {
    out << absl::StrFormat("%-14s %s\n", name, value);
  };
  line("model", absl::StrCat(config.name, " (", config.architecture, ")"));
  line("attention", DescribeAttention(config));
  line("layers", absl::StrFormat("%d, hidden size %d, head size %d, MLP %d, vocabulary %d",
                                 config.num_layers, config.hidden_size, config.head_dim,
                                 config.intermediate_size, config.vocab_size));
  line("parameters", absl::StrFormat("%s, %s in %s", FormatCount(config.NumParameters()),
                                     FormatBytes(WeightBytes(config, config.checkpoint_dtype)),
                                     kernels::DTypeName(config.checkpoint_dtype)));
  line("context", absl::StrCat(config.max_positions, " tokens"));
  for (const KvLayout& layout : classes) {
    if (layout.window > 0) {
      line("window", absl::StrFormat("%d tokens, in %d of %d layers", layout.window,
                                     layout.layers.size(), config.num_layers));
    }
    line("KV per token",
         FormatBytes(static_cast<int64_t>(layout.TokenBytes())) + TokenBytesSum(layout));
    line("KV per block",
         absl::StrFormat("%s for %d tokens", FormatBytes(static_cast<int64_t>(layout.BlockBytes())),
                         layout.block_tokens));
  }
}

nlohmann::ordered_json ModelJson(const ModelConfig& config, const KvLayouts& classes) {
  nlohmann::ordered_json kv = nlohmann::ordered_json::array();
  for (const KvLayout& layout : classes) {
    kv.push_back({{"window", layout.window},
                  {"layers", layout.layers.size()},
                  {"token_bytes", layout.TokenBytes()},
                  {"block_bytes", layout.BlockBytes()}});
  }
  return {{"model", config.name},
          {"architecture", config.architecture},
          {"attention", KindName(ShapeOfAttention(config).kind)},
          {"query_heads", config.num_heads},
          {"kv_groups", config.kv_groups},
          {"layers", config.num_layers},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"head_dim", config.head_dim},
          {"vocab_size", config.vocab_size},
          {"parameters", config.NumParameters()},
          {"checkpoint_dtype", kernels::DTypeName(config.checkpoint_dtype)},
          {"weight_bytes", WeightBytes(config, config.checkpoint_dtype)},
          {"context_tokens", config.max_positions},
          {"kv_dtype", kernels::DTypeName(classes[0].dtype)},
          {"block_tokens", classes[0].block_tokens},
          {"kv_classes", std::move(kv)}};
}

}  // namespace quire::cli
