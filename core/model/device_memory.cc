#include "core/model/device_memory.h"

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire {

absl::Status FromDevice(const kernels::DeviceStatus& status, absl::string_view doing) {
  using Code = kernels::DeviceStatus::Code;
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(doing, ": ", status.message());
  switch (status.code()) {
    case Code::kOutOfMemory:
      return absl::ResourceExhaustedError(message);
    case Code::kInvalidArgument:
      return absl::InvalidArgumentError(message);
    case Code::kOk:
    case Code::kDeviceLost:
      break;
  }
  return absl::UnavailableError(message);
}

absl::StatusOr<kernels::DeviceBuffer> AllocateOnDevice(kernels::Device* device, size_t bytes,
                                                       absl::string_view purpose) {
  kernels::DeviceBuffer buffer;
  QUIRE_RETURN_IF_ERROR(FromDevice(device->Allocate(bytes, &buffer),
                                   absl::StrCat("allocating ", bytes, " bytes for ", purpose)));
  return buffer;
}

absl::StatusOr<kernels::DeviceBuffer> UploadFloats(kernels::Device* device,
                                                   std::span<const float> values,
                                                   absl::string_view purpose) {
  QUIRE_ASSIGN_OR_RETURN(kernels::DeviceBuffer buffer,
                         AllocateOnDevice(device, values.size_bytes(), purpose));
  device->CopyToDevice(buffer.data(), values.data(), values.size_bytes());
  device->RecordEvent()->Wait();
  return buffer;
}

}  // namespace quire
