#include "core/capacity/group_dial.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire {

std::vector<int32_t> GroupCounts(const ModelConfig& config) {
  int32_t common = 0;
  for (int32_t l = 0; l < config.num_layers; ++l) {
    const LayerShape layer = config.Layer(l);
    if (layer.kv_groups > 0) common = std::gcd(common, layer.num_heads);
  }
  std::vector<int32_t> counts;
  for (int32_t groups = common; groups >= 1; --groups) {
    if (common % groups == 0) counts.push_back(groups);
  }
  return counts;
}

absl::StatusOr<ModelConfig> WithKvGroups(const ModelConfig& config, int32_t kv_groups) {
  const std::vector<int32_t> counts = GroupCounts(config);
  if (std::find(counts.begin(), counts.end(), kv_groups) == counts.end()) {
    return absl::InvalidArgumentError(absl::StrCat(kv_groups, " KV groups: the heads of ",
                                                   config.name, " can form ",
                                                   absl::StrJoin(counts, ", ")));
  }
  ModelConfig changed = config;
  for (int32_t& groups : changed.kv_groups) groups = groups > 0 ? kv_groups : 0;
  return changed;
}

}  // namespace quire
