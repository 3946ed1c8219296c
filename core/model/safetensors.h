#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/api/types.h"

namespace quire {

// Bounds on what a safetensors header may ask of us.
struct SafetensorsLimits {
  uint64_t max_header_bytes = uint64_t{16} << 20;
  size_t max_rank = 8;
};

// One tensor of a file. `data` points into the file's bytes and has no alignment to rely on.
struct SafetensorsEntry {
  std::string name;
  std::string dtype_name;               // as the file has it
  std::optional<kernels::DType> dtype;  // empty: a type that can be listed but not loaded
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

// Validates a whole safetensors file (8 bytes of little-endian header length, JSON header, data)
// and lists its tensors in the order of their data: every size is checked against its shape, and
// the tensors cover the data exactly, without gaps or overlaps. Errors are InvalidArgument and
// start with `where`. Pure; the entries point into `file`.
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensors(std::span<const std::byte> file,
                                                               std::string_view where,
                                                               const SafetensorsLimits& limits);

// "[2, 3]"
std::string ShapeName(std::span<const int64_t> shape);

}  // namespace quire
