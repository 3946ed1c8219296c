#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/api/device.h"
#include "kernels/api/ops.h"
#include "server/cli/bench_report.h"

namespace quire::cli {

// A device that times the operations of another, whose calls must return when their work is done
// (InFlightDepth 0).
class TimedDevice final : public kernels::Device {
 public:
  explicit TimedDevice(std::unique_ptr<kernels::Device> device);
  ~TimedDevice() override;

  // Since the last call, in the order in which they were first called.
  std::vector<OpTime> TakeTimes();

  std::string Description() const override { return device_->Description(); }
  int InFlightDepth() const override { return device_->InFlightDepth(); }
  size_t AvailableBytes() const override { return device_->AvailableBytes(); }
  bool HasOwnMemory() const override { return device_->HasOwnMemory(); }
  kernels::DType DefaultCompute(kernels::DType checkpoint) const override {
    return device_->DefaultCompute(checkpoint);
  }
  kernels::DType NarrowKv() const override { return device_->NarrowKv(); }
  kernels::DeviceStatus Allocate(size_t bytes, kernels::DeviceBuffer* buffer) override {
    return device_->Allocate(bytes, buffer);
  }
  kernels::DeviceStatus AllocateHost(size_t bytes, kernels::HostBuffer* buffer) override {
    return device_->AllocateHost(bytes, buffer);
  }
  kernels::DeviceStatus PackLinear(const kernels::HostMatrix* parts, int num_parts,
                                   kernels::DType compute, kernels::WeightFormat format,
                                   std::unique_ptr<kernels::PackedWeights>* weights) override {
    return device_->PackLinear(parts, num_parts, compute, format, weights);
  }
  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    device_->CopyToDevice(device, host, bytes);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    device_->CopyToHost(host, device, bytes);
  }
  std::unique_ptr<kernels::Event> RecordEvent() override { return device_->RecordEvent(); }
  kernels::DeviceStatus CheckError() override { return device_->CheckError(); }
  kernels::Ops& ops() override;

 private:
  class TimedOps;

  // Buffers belong to the device below.
  void Free(std::byte*, size_t) override {}
  void FreeHost(std::byte*, size_t) override {}

  std::unique_ptr<kernels::Device> device_;
  std::unique_ptr<TimedOps> ops_;
};

}  // namespace quire::cli
