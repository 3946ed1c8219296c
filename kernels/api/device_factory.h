#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/api/device.h"

namespace quire::kernels {

struct DeviceOptions {
  std::string kind = "auto";     // auto: cuda where there is a usable GPU, else cpu; cpu; cuda
  int32_t threads = 0;           // CPU threads; 0: all cores that the process may use
  bool batch_invariant = false;  // on a GPU, at the price of speed; the CPU always is
  // A CPU's instruction set: portable, avx2, avx512_bf16, amx; auto: the fastest that it has.
  std::string cpu_tier = "auto";
};

// Creates the device that `kind` asks for. An explicit kind that cannot be had is an error that
// says why. "auto" always finds one; where that is the CPU, `why_no_gpu` (if given) says why.
DeviceStatus CreateDevice(const DeviceOptions& options, std::unique_ptr<Device>* device,
                          std::string* why_no_gpu = nullptr);

// CPU cores of the affinity mask, at most as many whole ones as the CPU quotas pay for. At least 1.
int UsableCores();

}  // namespace quire::kernels
