#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/api/device.h"

namespace quire {

// A device's outcome as a status, prefixed with what was being done: ResourceExhausted for lack of
// memory, Unavailable for a lost device.
absl::Status FromDevice(const kernels::DeviceStatus& status, absl::string_view doing);

// `purpose` is for the error message.
absl::StatusOr<kernels::DeviceBuffer> AllocateOnDevice(kernels::Device* device, size_t bytes,
                                                       absl::string_view purpose);

// A device buffer with a copy of `values`; waits until they are there.
absl::StatusOr<kernels::DeviceBuffer> UploadFloats(kernels::Device* device,
                                                   std::span<const float> values,
                                                   absl::string_view purpose);

}  // namespace quire
