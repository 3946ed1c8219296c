#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/api/device.h"

namespace quire::kernels {

struct DeviceOptions {
  std::string kind = "auto";  // auto: cuda where there is a usable GPU, else cpu; cpu; cuda
  int32_t threads = 0;        // CPU threads; 0: all cores that the process may use
};

// Creates the device that `kind` asks for. An explicit kind that cannot be had is an error that
// says why; "auto" always finds one.
DeviceStatus CreateDevice(const DeviceOptions& options, std::unique_ptr<Device>* device);

// CPU cores of the affinity mask, at most as many whole ones as the CPU quotas pay for. At least 1.
int UsableCores();

}  // namespace quire::kernels
