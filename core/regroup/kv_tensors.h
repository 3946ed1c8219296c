#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/model/checkpoint.h"
#include "core/model/model_config.h"

namespace quire {

// The KV groups of each layer that are asked for: `groups` in every layer that has attention, or,
// where that is 0, those of `per_layer` (0 where a layer has no attention). Each must divide the
// layer's present number. InvalidArgument says which numbers would do, also where nothing would
// change. Pure.
absl::StatusOr<std::vector<int32_t>> ChooseGroups(const ModelConfig& config, int32_t groups,
                                                  std::span<const int32_t> per_layer);

// How the KV groups lie in one tensor: as [leading_rows + parts * groups * head_dim, cols], or
// without cols for a bias.
struct KvTensor {
  int64_t leading_rows = 0;  // Q's, where Q, K and V are one tensor
  int32_t parts = 1;         // 1: K or V; 2: K, then V
  int32_t groups_before = 0;
  int32_t groups_after = 0;
  int32_t head_dim = 0;
  uint64_t id = 0;  // of its first part, for HeadTensor; the next has the next

  int64_t RowsWith(int32_t groups) const {
    return leading_rows + int64_t{parts} * groups * head_dim;
  }
};

// By tensor name.
using KvTensors = absl::flat_hash_map<std::string, KvTensor>;

// The tensors that change with the groups of the layers where `groups` differs from `config`.
// InvalidArgument for one that is missing, has another shape than the configuration says, or a type
// that cannot be pooled; and for others of the same projections, such as scales and adapters, of
// which it is not known how they would change.
absl::StatusOr<KvTensors> FindKvTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                                        const std::vector<int32_t>& groups);

}  // namespace quire
