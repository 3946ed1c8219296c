#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace quire {

class JsonFields;

enum class QuantMethod : uint8_t { kGptq, kAwq, kFp8 };

// What `quantization_config` in config.json says of how linear layers are stored. Plain data. Which
// layers those are shows from the tensors themselves, so lists of exceptions are not kept, and
// neither is how activations would be quantized: the weights are dequantized.
struct QuantConfig {
  QuantMethod method = QuantMethod::kGptq;

  // GPTQ (Frantar et al., 2022) and AWQ (Lin et al., 2023).
  int32_t bits = 4;
  int64_t group_size = 0;          // inputs that share a scale; 0: all of them do
  bool needs_group_index = false;  // inputs are grouped in another order than their own
  bool zeros_less_one = false;     // zero points are stored less one, as GPTQ's first format does

  // FP8: outputs and inputs of a block that shares a scale; 0: one a tensor or one an output.
  int64_t block_rows = 0;
  int64_t block_cols = 0;
};

// Reads the field from a whole config.json; nothing where it is absent. InvalidArgument names a
// method or a setting that is not supported and those that are.
absl::StatusOr<std::optional<QuantConfig>> ReadQuantConfig(const JsonFields& config);

// The same from a model's directory; nothing where it has no config.json.
absl::StatusOr<std::optional<QuantConfig>> LoadQuantConfig(const std::string& model_dir);

}  // namespace quire
