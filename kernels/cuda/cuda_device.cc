#include "kernels/cuda/cuda_device.h"

#include <string>
#include <utility>

#include "kernels/api/weight_parts.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cuda_weights.h"

namespace quire::kernels::cuda {
namespace {

using Code = DeviceStatus::Code;

class CudaDevice final : public Device {
 public:
  CudaDevice(std::unique_ptr<GpuRuntime> runtime, bool batch_invariant)
      : runtime_(std::move(runtime)),
        uploader_(runtime_.get()),
        ops_(runtime_.get(), batch_invariant ? kAttentionSplit : 0) {}

  std::string Description() const override {
    const GpuProperties& gpu = runtime_->properties();
    return "cuda, " + gpu.name + ", compute capability " + std::to_string(gpu.compute_major) + "." +
           std::to_string(gpu.compute_minor);
  }
  int InFlightDepth() const override { return 1; }
  size_t AvailableBytes() const override { return runtime_->FreeBytes(); }
  bool HasOwnMemory() const override { return true; }
  DType DefaultCompute(DType) const override { return DType::kBF16; }

  DType NarrowKv() const override { return DType::kF8E4M3; }

  DeviceStatus Allocate(size_t bytes, DeviceBuffer* buffer) override;
  DeviceStatus AllocateHost(size_t bytes, HostBuffer* buffer) override;
  DeviceStatus PackLinear(const HostMatrix* parts, int num_parts, DType compute,
                          WeightFormat format, std::unique_ptr<PackedWeights>* weights) override;

  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    runtime_->CopyToDevice(device, host, bytes);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    runtime_->CopyToHost(host, device, bytes);
  }
  std::unique_ptr<Event> RecordEvent() override { return runtime_->RecordEvent(); }
  DeviceStatus CheckError() override { return runtime_->Error(); }
  TransferQueue* transfers() override { return &runtime_->transfers(); }
  void WaitFor(const Event& event) override { runtime_->WaitFor(event); }

  bool CanCapture() const override { return true; }
  void BeginCapture() override {
    ops_.SetCapturing(true);
    runtime_->BeginCapture();
  }
  std::unique_ptr<DeviceGraph> EndCapture() override {
    ops_.SetCapturing(false);
    return runtime_->EndCapture();
  }

  Ops& ops() override { return ops_; }

 private:
  void Free(std::byte* data, size_t) override { runtime_->Free(data); }
  void FreeHost(std::byte* data, size_t) override { runtime_->FreePinned(data); }

  const std::unique_ptr<GpuRuntime> runtime_;
  WeightUploader uploader_;
  CudaOps ops_;
};

DeviceStatus CudaDevice::Allocate(size_t bytes, DeviceBuffer* buffer) {
  std::byte* data = nullptr;
  if (DeviceStatus status = runtime_->Allocate(bytes, &data); !status.ok()) return status;
  *buffer = DeviceBuffer(this, data, bytes);
  return DeviceStatus();
}

DeviceStatus CudaDevice::AllocateHost(size_t bytes, HostBuffer* buffer) {
  std::byte* data = nullptr;
  if (DeviceStatus status = runtime_->AllocatePinned(bytes, &data); !status.ok()) return status;
  *buffer = HostBuffer(this, data, bytes);
  return DeviceStatus();
}

DeviceStatus CudaDevice::PackLinear(const HostMatrix* parts, int num_parts, DType compute,
                                    WeightFormat format, std::unique_ptr<PackedWeights>* weights) {
  int64_t rows = 0;
  if (DeviceStatus status = CheckWeightParts(parts, num_parts, &rows); !status.ok()) return status;
  if (compute != DType::kBF16 && compute != DType::kF16) {
    return DeviceStatus(Code::kInvalidArgument, std::string("a GPU computes in bf16, not in ") +
                                                    DTypeName(compute) + "; use --dtype bf16");
  }
  if (format != WeightFormat::kDense) {
    return DeviceStatus(Code::kInvalidArgument, std::string("a GPU has no weights in ") +
                                                    WeightFormatName(format) +
                                                    "; leave out --weights");
  }
  const int64_t cols = parts[0].cols;
  DeviceBuffer data;
  const size_t bytes = static_cast<size_t>(rows) * static_cast<size_t>(cols) * DTypeBytes(compute);
  if (DeviceStatus status = Allocate(bytes, &data); !status.ok()) return status;
  std::byte* to = data.data();
  for (int i = 0; i < num_parts; ++i) {
    if (DeviceStatus status = uploader_.Upload(parts[i], compute, to); !status.ok()) return status;
    to += static_cast<size_t>(parts[i].rows) * static_cast<size_t>(cols) * DTypeBytes(compute);
  }
  *weights = std::make_unique<CudaWeights>(std::move(data), rows, cols, compute);
  return DeviceStatus();
}

}  // namespace

std::unique_ptr<Device> MakeCudaDevice(std::unique_ptr<GpuRuntime> runtime, bool batch_invariant,
                                       DeviceStatus* status) {
  *status = runtime->Error();
  if (!status->ok()) return nullptr;
  return std::make_unique<CudaDevice>(std::move(runtime), batch_invariant);
}

}  // namespace quire::kernels::cuda
