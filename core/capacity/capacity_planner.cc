#include "core/capacity/capacity_planner.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/capacity/group_dial.h"
#include "core/capacity/model_kv_layout.h"

namespace quire {
namespace {

absl::Status Validate(const ModelConfig& config, const CapacityQuestion& question) {
  if (question.memory_bytes < 1) {
    return absl::InvalidArgumentError("the memory to plan with must be above 0");
  }
  if (question.kv_dtypes.empty() || question.block_tokens.empty() ||
      question.context_tokens.empty()) {
    return absl::InvalidArgumentError("name at least one KV type, block size and context length");
  }
  for (const int32_t tokens : question.block_tokens) {
    QUIRE_RETURN_IF_ERROR(ValidateBlockTokens(tokens));
  }
  const int32_t longest =
      question.max_context_tokens > 0 ? question.max_context_tokens : config.max_positions;
  if (longest > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("a context of ", longest,
                                                   " tokens is more than the ",
                                                   config.max_positions, " of this model"));
  }
  for (const int32_t context : question.context_tokens) {
    if (context >= 1 && context <= longest) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a context of ", context, " tokens: choose 1 to ", longest));
  }
  return absl::OkStatus();
}

CapacityRow PlanRow(const ModelConfig& config, const CapacityQuestion& question,
                    kernels::DType kv_dtype, int32_t block_tokens) {
  CapacityRow row;
  row.kv_groups = config.kv_groups;
  row.weight_bytes =
      WeightBytes(config, question.compute.value_or(config.DefaultComputeType()), question.weights);
  row.classes = MakeKvLayouts(config, block_tokens, kv_dtype, question.max_context_tokens);
  const int64_t memory = question.memory_bytes - (question.weights_included ? row.weight_bytes : 0);
  row.pool = PlanKvPool(row.classes, std::max<int64_t>(memory, 0));
  for (const int32_t context : question.context_tokens) {
    row.sequences.push_back(
        SequencesThatFit(row.classes, row.pool, context, question.in_flight_tokens));
  }
  return row;
}

int64_t GroupsInAll(const ModelConfig& config) {
  return std::accumulate(config.kv_groups.begin(), config.kv_groups.end(), int64_t{0});
}

}  // namespace

int64_t WeightBytes(const ModelConfig& config, kernels::DType compute,
                    kernels::WeightFormat format) {
  using kernels::WeightFormat;
  const int64_t elements = config.NumParameters();
  if (format == WeightFormat::kDense) {
    return elements * static_cast<int64_t>(kernels::DTypeBytes(compute));
  }
  // An offset of 4 bytes for 256 elements, and with 4 bits a byte for 32.
  const auto int8_bytes = [](int64_t n) { return n + n / 64; };
  if (format == WeightFormat::kInt8) return int8_bytes(elements);
  const int64_t tables =
      config.vocab_size * int64_t{config.hidden_size} * (config.tie_word_embeddings ? 1 : 2);
  const int64_t others = elements - tables;
  return int8_bytes(tables) + others / 2 + others / 32 + others / 64;
}

std::vector<int32_t> DefaultContexts(int32_t max_tokens) {
  std::vector<int32_t> contexts = {max_tokens};
  while (contexts.size() < 4 && contexts.back() / 4 >= 16) {
    contexts.push_back(contexts.back() / 4);
  }
  std::reverse(contexts.begin(), contexts.end());
  return contexts;
}

absl::StatusOr<std::vector<CapacityRow>> PlanCapacity(const ModelConfig& config,
                                                      const CapacityQuestion& question) {
  QUIRE_RETURN_IF_ERROR(Validate(config, question));
  std::vector<ModelConfig> dial = {config};
  for (const int32_t groups : question.kv_groups) {
    QUIRE_ASSIGN_OR_RETURN(ModelConfig changed, WithKvGroups(config, groups));
    const bool known = std::any_of(dial.begin(), dial.end(), [&](const ModelConfig& other) {
      return other.kv_groups == changed.kv_groups;
    });
    if (!known) dial.push_back(std::move(changed));
  }
  std::stable_sort(dial.begin(), dial.end(), [](const ModelConfig& a, const ModelConfig& b) {
    return GroupsInAll(a) > GroupsInAll(b);
  });
  std::vector<CapacityRow> rows;
  for (const ModelConfig& model : dial) {
    for (const kernels::DType kv_dtype : question.kv_dtypes) {
      for (const int32_t block_tokens : question.block_tokens) {
        rows.push_back(PlanRow(model, question, kv_dtype, block_tokens));
        rows.back().own_groups = model.kv_groups == config.kv_groups;
      }
    }
  }
  return rows;
}

}  // namespace quire
