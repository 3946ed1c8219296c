#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "kernels/api/device.h"

// The CPU as a compute device. This is the only header of the back end that others include.

namespace quire::kernels {

// Instruction sets the kernels are built for. Results are reproducible within a tier, not across.
enum class IsaTier : uint8_t {
  kPortable,    // plain C++
  kAvx2,        // AVX2 and FMA
  kAvx512Bf16,  // AVX-512 F, BW, DQ, VL, BF16 and VNNI
  kAmx,         // the same, and AMX-TILE, -BF16 and -INT8
};

// All of them, each faster than those before it.
inline constexpr IsaTier kIsaTiers[] = {IsaTier::kPortable, IsaTier::kAvx2, IsaTier::kAvx512Bf16,
                                        IsaTier::kAmx};

const char* IsaTierName(IsaTier tier);
bool IsaTierSupported(IsaTier tier);  // by this build, this processor and the operating system
IsaTier BestIsaTier();

struct CpuDeviceOptions {
  int threads = 0;              // with the calling one; 0: the cores this process may use
  std::optional<IsaTier> tier;  // unset: the best one supported
  bool poison = false;          // fill fresh allocations with NaN patterns, for tests
};

// The device runs every operation before the call returns (InFlightDepth 0; events are done at
// once) on the calling thread and threads - 1 of its own, which sleep between steps.
// Returns null and sets *status when the options are invalid or a resource is lacking.
std::unique_ptr<Device> MakeCpuDevice(const CpuDeviceOptions& options, DeviceStatus* status);

}  // namespace quire::kernels
