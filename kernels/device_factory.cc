#include "kernels/api/device_factory.h"

#include <optional>
#include <string>

#include "kernels/cpu/cpu_device.h"
#ifdef QUIRE_HAS_CUDA
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_runtime.h"
#endif

namespace quire::kernels {
namespace {

using Code = DeviceStatus::Code;

// False where there is no tier of that name. No tier: the best one is to be taken.
bool FindIsaTier(const std::string& name, std::optional<IsaTier>* tier) {
  for (IsaTier each : kIsaTiers) {
    if (name == IsaTierName(each)) *tier = each;
  }
  return tier->has_value() || name == "auto";
}

DeviceStatus UnknownTier(const std::string& name) {
  std::string names = "auto";
  for (IsaTier tier : kIsaTiers) names += std::string(", ") + IsaTierName(tier);
  return DeviceStatus(Code::kInvalidArgument,
                      "unknown CPU tier '" + name + "'; use one of " + names);
}

DeviceStatus CreateCudaDevice([[maybe_unused]] const DeviceOptions& options,
                              [[maybe_unused]] std::unique_ptr<Device>* device) {
#ifdef QUIRE_HAS_CUDA
  DeviceStatus status;
  auto runtime = cuda::MakeCudaRuntime(&status);
  if (runtime != nullptr) {
    *device = cuda::MakeCudaDevice(std::move(runtime), options.batch_invariant, &status);
  }
  return status;
#else
  return DeviceStatus(Code::kInvalidArgument, "this build has no CUDA back end");
#endif
}

}  // namespace

DeviceStatus CreateDevice(const DeviceOptions& options, std::unique_ptr<Device>* device,
                          std::string* why_no_gpu) {
  if (options.kind != "auto" && options.kind != "cpu" && options.kind != "cuda") {
    return DeviceStatus(Code::kInvalidArgument,
                        "unknown device '" + options.kind + "'; use auto, cpu or cuda");
  }
  CpuDeviceOptions cpu;
  cpu.threads = options.threads;
  if (!FindIsaTier(options.cpu_tier, &cpu.tier)) return UnknownTier(options.cpu_tier);
  if (options.kind != "cpu") {
    DeviceStatus status = CreateCudaDevice(options, device);
    if (status.ok()) return status;
    if (options.kind == "cuda") {
      return DeviceStatus(status.code(), status.message() + "; use --device cpu or auto");
    }
    if (why_no_gpu != nullptr) *why_no_gpu = status.message();
  }
  DeviceStatus status;
  *device = MakeCpuDevice(cpu, &status);
  return status;
}

}  // namespace quire::kernels
