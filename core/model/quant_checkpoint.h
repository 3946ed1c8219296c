#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/checkpoint.h"
#include "core/model/quant_config.h"
#include "core/model/quant_matrix.h"
#include "core/model/weight_source.h"

namespace quire {

// A quantized matrix and the tensors that it is made of.
struct QuantizedMatrix {
  std::unique_ptr<EncodedMatrix> matrix;  // null: the checkpoint holds it as a plain tensor
  std::vector<std::string> tensors;
};

// Finds the matrix that `spec` names, "<layer>.weight", in the form that `config` describes. A
// layer that was left out of the quantization shows by its plain tensor. InvalidArgument names the
// tensor at fault. The checkpoint must outlive the result.
absl::StatusOr<QuantizedMatrix> OpenQuantized(const QuantConfig& config,
                                              const Checkpoint& checkpoint, const TensorSpec& spec);

// Whether a tensor that nothing asked for changes nothing: it quantizes activations, or is a bias
// of zeros, which GPTQ's tools give to layers that have none.
bool IsInertWhenQuantized(const QuantConfig& config, const SafetensorsEntry& entry);

}  // namespace quire
