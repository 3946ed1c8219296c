#pragma once

#include <cstdint>
#include <limits>

#include "kernels/api/types.h"

namespace quire::kernels {

// Whether the parts stack to one weight matrix, and its rows, for Device::PackLinear.
inline DeviceStatus CheckWeightParts(const HostMatrix* parts, int num_parts, int64_t* rows) {
  const auto invalid = [](const char* what) {
    return DeviceStatus(DeviceStatus::Code::kInvalidArgument, what);
  };
  if (num_parts < 1) return invalid("a weight matrix needs at least one part");
  *rows = 0;
  for (int i = 0; i < num_parts; ++i) {
    if (parts[i].data == nullptr || parts[i].rows <= 0) return invalid("a weight part is empty");
    if (parts[i].dtype == DType::kF8E4M3) return invalid("weights in fp8 have to be dequantized");
    if (parts[i].cols != parts[0].cols) return invalid("weight parts differ in their columns");
    if (parts[i].rows > std::numeric_limits<int32_t>::max() - *rows) {
      return invalid("a weight matrix has too many rows");
    }
    *rows += parts[i].rows;
  }
  return DeviceStatus();
}

}  // namespace quire::kernels
