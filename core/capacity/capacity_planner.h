#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/capacity/kv_pool.h"
#include "core/model/model_config.h"

namespace quire {

// Bytes of the weights when they are computed in `compute` and kept in `format`; with integers
// without the scales of outputs and the padding of sides that are no multiples of 32. Pure.
int64_t WeightBytes(const ModelConfig& config, kernels::DType compute,
                    kernels::WeightFormat format = kernels::WeightFormat::kDense);

// Four lengths up to `max_tokens`, each a quarter of the next, none below 16. Pure.
std::vector<int32_t> DefaultContexts(int32_t max_tokens);

// What to lay out, and how. Every combination of groups, types and block sizes is a row.
struct CapacityQuestion {
  // Of the KV cache; or of it and the weights, which fewer groups make smaller.
  int64_t memory_bytes = 0;
  bool weights_included = false;
  std::optional<kernels::DType> compute = {};  // default: ModelConfig::DefaultComputeType()
  kernels::WeightFormat weights = kernels::WeightFormat::kDense;
  std::vector<int32_t> kv_groups = {};         // in every layer, instead of the model's own
  std::vector<kernels::DType> kv_dtypes = {};  // one or more
  std::vector<int32_t> block_tokens = {};      // one or more
  std::vector<int32_t> context_tokens = {};    // one or more: prompt and answer together
  int32_t max_context_tokens = 0;              // that is served; 0: the model's own
  int64_t in_flight_tokens = 1;                // see SequencesThatFit
};

// One way to lay the KV cache out.
struct CapacityRow {
  std::vector<int32_t> kv_groups;  // of each layer
  bool own_groups = false;         // they are the model's own
  int64_t weight_bytes = 0;
  KvLayouts classes;
  KvPool pool;
  std::vector<int64_t> sequences;  // that fit at once, by context_tokens
};

// The model's own groups are a row for each type and block size even where `kv_groups` leaves them
// out; rows go from many groups to few. InvalidArgument says what is wrong with the question. Pure.
absl::StatusOr<std::vector<CapacityRow>> PlanCapacity(const ModelConfig& config,
                                                      const CapacityQuestion& question);

}  // namespace quire
