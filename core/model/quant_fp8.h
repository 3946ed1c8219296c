#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/model/quant_config.h"
#include "core/model/quant_matrix.h"
#include "core/model/safetensors.h"

namespace quire {

// The float32 value of each byte as E4M3 (Micikevicius et al., 2022): four bits of exponent, three
// of fraction, no infinity, and two NaN, 0x7f and 0xff.
std::array<float, 256> Fp8Values();

// A matrix of E4M3 codes [rows, cols], each times the scale of its tensor (one scale), its output
// ([rows] or [rows, 1]) or, where `config` has blocks, its block ([row blocks, column blocks], the
// last ones cut short). InvalidArgument names the tensor. The entries must outlive the result.
absl::StatusOr<std::unique_ptr<EncodedMatrix>> OpenFp8(const QuantConfig& config,
                                                       const SafetensorsEntry& codes,
                                                       const SafetensorsEntry& scales, int64_t rows,
                                                       int64_t cols);

}  // namespace quire
