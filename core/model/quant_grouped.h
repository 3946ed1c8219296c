#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/model/quant_config.h"
#include "core/model/quant_matrix.h"
#include "core/model/safetensors.h"

namespace quire {

// The tensors of one linear layer in GPTQ or AWQ, which store its transpose [inputs, outputs]:
// element = (code - zero point) * scale, the last two shared by a group of inputs.
struct GroupedTensors {
  const SafetensorsEntry* codes = nullptr;        // "qweight"
  const SafetensorsEntry* zeros = nullptr;        // "qzeros"
  const SafetensorsEntry* scales = nullptr;       // "scales", [groups, outputs]
  const SafetensorsEntry* group_index = nullptr;  // "g_idx", [inputs]; null: groups are runs
};

// InvalidArgument, naming the tensor, where shapes, types or values do not fit `config` and each
// other. The tensors must outlive the result.
absl::StatusOr<std::unique_ptr<EncodedMatrix>> OpenGrouped(const QuantConfig& config,
                                                           const GroupedTensors& tensors,
                                                           int64_t rows, int64_t cols);

}  // namespace quire
