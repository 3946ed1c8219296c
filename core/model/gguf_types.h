#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernels/api/types.h"

namespace quire {

// How the elements of a GGUF tensor lie in the file, in blocks along its rows. The formulas are
// those of the GGML library; a block is decoded in float32.
struct GgufTensorType {
  uint32_t id;  // in the file
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
  std::optional<kernels::DType> plain;                 // elements of a type that kernels read
  void (*decode)(const std::byte* block, float* out);  // null where `plain` is set
};

const GgufTensorType* FindGgufTensorType(uint32_t id);  // null: cannot be loaded
std::string GgufTensorTypeName(uint32_t id);            // also of types that cannot be loaded
std::string LoadableGgufTensorTypes();                  // "F32, F16, ..."

}  // namespace quire
