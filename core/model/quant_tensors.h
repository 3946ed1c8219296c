#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/safetensors.h"

// Checked access to the tensors that together make a quantized matrix. Errors are InvalidArgument
// and name the tensor.

namespace quire {

absl::Status QuantError(const SafetensorsEntry& entry, std::string_view problem);

// One of `dtypes`, and the shape where one is given.
absl::Status CheckQuantTensor(const SafetensorsEntry& entry,
                              std::initializer_list<const char*> dtypes,
                              const std::vector<int64_t>& shape);

// Scales in F32, F16 or BF16 as float32, each of them finite.
absl::StatusOr<std::vector<float>> ReadScales(const SafetensorsEntry& entry);

// Elements of a tensor of 32-bit integers.
inline uint32_t QuantWord(const SafetensorsEntry& entry, int64_t index) {
  uint32_t word = 0;
  std::memcpy(&word, entry.data.data() + index * static_cast<int64_t>(sizeof(word)), sizeof(word));
  return word;
}

}  // namespace quire
