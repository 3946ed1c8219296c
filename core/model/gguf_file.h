#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/model/gguf_types.h"

namespace quire {

// Bounds on what a GGUF header may ask of us.
struct GgufLimits {
  uint64_t max_keys = 1 << 16;
  uint64_t max_tensors = 1 << 16;
  uint64_t max_name_bytes = 1 << 10;  // of a key or a tensor
  uint64_t max_string_bytes = uint64_t{16} << 20;
  uint64_t max_array_elements = uint64_t{1} << 24;
};

enum class GgufValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

inline constexpr size_t kGgufShownBytes = 80;  // of a file's text that goes into an error message

// A value of the metadata where it lies in the file: `count` elements of `type`, one unless it is
// an array. Strings have their lengths before them, 8 bytes each. `type` is never kArray.
struct GgufValue {
  GgufValueType type = GgufValueType::kUint8;
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> data;
};

// One tensor. `data` points into the file and has no alignment to rely on.
struct GgufTensor {
  std::string name;
  const GgufTensorType* type = nullptr;
  std::vector<int64_t> shape;  // the last one is that of a row, contrary to the file
  std::span<const std::byte> data;
};

struct GgufFile {
  uint32_t version = 0;
  absl::flat_hash_map<std::string, GgufValue> metadata;
  std::vector<GgufTensor> tensors;  // in the order of the file
};

// Validates a whole GGUF file of version 2 or 3: every length is checked against the file, names
// are unique, and tensors follow each other without overlaps and with no more between them than the
// alignment needs. Takes time and memory proportional to the header. Errors are InvalidArgument and
// start with `where`. Pure; the result points into `file`.
absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> file, std::string_view where,
                                   const GgufLimits& limits = {});

}  // namespace quire
