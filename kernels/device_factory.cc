#include "kernels/api/device_factory.h"

#include "kernels/cpu/cpu_device.h"

namespace quire::kernels {

DeviceStatus CreateDevice(const DeviceOptions& options, std::unique_ptr<Device>* device) {
  if (options.kind == "cuda") {
    return DeviceStatus(DeviceStatus::Code::kInvalidArgument,
                        "this build has no CUDA back end; use --device cpu or auto");
  }
  if (options.kind != "auto" && options.kind != "cpu") {
    return DeviceStatus(DeviceStatus::Code::kInvalidArgument,
                        "unknown device '" + options.kind + "'; use auto, cpu or cuda");
  }
  CpuDeviceOptions cpu;
  cpu.threads = options.threads;
  DeviceStatus status;
  *device = MakeCpuDevice(cpu, &status);
  return status;
}

}  // namespace quire::kernels
