#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/output_file.h"

namespace quire {

// A tensor to write: what the file's header says of it, and how many bytes its data has.
struct OutputTensor {
  std::string name;
  std::string dtype_name;  // as safetensors has it: "BF16"
  std::vector<int64_t> shape;
  int64_t bytes = 0;
};

// What goes into the header's "__metadata__", in this order.
using SafetensorsMetadata = std::vector<std::pair<std::string, std::string>>;

// Writes one safetensors file (core/model/safetensors.h has the format) as a stream: the header
// first, then the data of the tensors one after the other, in pieces of any size. Move-only.
class SafetensorsWriter {
 public:
  // Writes the header. InvalidArgument for one longer than SafetensorsLimits allows, which no
  // reader here would take; otherwise errors are OutputFile's.
  static absl::StatusOr<SafetensorsWriter> Create(const std::string& path,
                                                  std::span<const OutputTensor> tensors,
                                                  const SafetensorsMetadata& metadata);

  // The next bytes of the data.
  absl::Status Append(std::span<const std::byte> data);
  // Closes the file, whose data must be all there.
  absl::Status Finish();

 private:
  SafetensorsWriter(OutputFile file, int64_t bytes) : file_(std::move(file)), missing_(bytes) {}

  OutputFile file_;
  int64_t missing_;  // bytes of data still to come
};

}  // namespace quire
