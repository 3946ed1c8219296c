#include "kernels/cpu/cpu_device.h"

#include <cstring>
#include <new>
#include <system_error>

#include "kernels/api/device_factory.h"
#include "kernels/api/weight_parts.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/process_limits.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/tier/tier_kernels.h"

namespace quire::kernels {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kPoisonByte = 0xff;  // a NaN in every element type

const TierKernels& KernelsOf(IsaTier tier) {
#ifdef QUIRE_X86_TIERS
  if (tier == IsaTier::kAvx2) return Avx2Kernels();
  if (tier == IsaTier::kAvx512Bf16) return Avx512Bf16Kernels();
  if (tier == IsaTier::kAmx) return AmxKernels();
#endif
  KERNELS_CHECK(tier == IsaTier::kPortable);
  return PortableKernels();
}

// Work is done before the call that asks for it returns.
class DoneEvent final : public Event {
 public:
  bool Done() const override { return true; }
  void Wait() override {}
};

class CpuDevice final : public Device {
 public:
  CpuDevice(IsaTier tier, int threads, bool poison)
      : tier_(tier), poison_(poison), pool_(threads), ops_(&pool_, KernelsOf(tier)) {}

  std::string Description() const override {
    const std::string threads = std::to_string(pool_.size());
    return std::string("cpu, ") + IsaTierName(tier_) + ", " + threads +
           (pool_.size() == 1 ? " thread" : " threads");
  }
  int InFlightDepth() const override { return 0; }
  size_t AvailableBytes() const override { return AvailableMemory(); }
  DType NarrowKv() const override { return DType::kInt8; }

  DeviceStatus Allocate(size_t bytes, DeviceBuffer* buffer) override {
    return AllocateAny(bytes, buffer);
  }
  DeviceStatus AllocateHost(size_t bytes, HostBuffer* buffer) override {
    return AllocateAny(bytes, buffer);
  }
  DeviceStatus PackLinear(const HostMatrix* parts, int num_parts, DType compute,
                          WeightFormat format, std::unique_ptr<PackedWeights>* weights) override;

  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    if (bytes > 0) std::memcpy(device, host, bytes);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    if (bytes > 0) std::memcpy(host, device, bytes);
  }
  std::unique_ptr<Event> RecordEvent() override { return std::make_unique<DoneEvent>(); }
  DeviceStatus CheckError() override { return ops_.error(); }
  Ops& ops() override { return ops_; }

 private:
  // The device's memory is the host's.
  template <MemoryKind kKind>
  DeviceStatus AllocateAny(size_t bytes, OwnedBuffer<kKind>* buffer);
  void Free(std::byte* data, size_t bytes) override { FreeHostMemory(data, bytes); }
  void FreeHost(std::byte* data, size_t bytes) override { FreeHostMemory(data, bytes); }

  const IsaTier tier_;
  const bool poison_;
  ThreadPool pool_;
  CpuOps ops_;
};

template <MemoryKind kKind>
DeviceStatus CpuDevice::AllocateAny(size_t bytes, OwnedBuffer<kKind>* buffer) {
  std::byte* data = AllocateHostMemory(bytes);
  if (data == nullptr) {
    return DeviceStatus(DeviceStatus::Code::kOutOfMemory,
                        "no memory for a buffer of " + std::to_string(bytes) + " bytes");
  }
  if (poison_) std::memset(data, kPoisonByte, bytes);
  *buffer = OwnedBuffer<kKind>(this, data, bytes);
  return DeviceStatus();
}

DeviceStatus CpuDevice::PackLinear(const HostMatrix* parts, int num_parts, DType compute,
                                   WeightFormat format, std::unique_ptr<PackedWeights>* weights) {
  int64_t rows = 0;
  DeviceStatus status = CheckWeightParts(parts, num_parts, &rows);
  if (!status.ok()) return status;
  auto packed = CpuPackedWeights::Create(rows, parts[0].cols, compute, format, &status);
  if (packed == nullptr) return status;
  if (!ops_.ReserveForLinear(*packed)) {
    return DeviceStatus(DeviceStatus::Code::kOutOfMemory, "no memory for packed activations");
  }
  PackParts(parts, num_parts, &pool_, packed.get());
  *weights = std::move(packed);
  return DeviceStatus();
}

}  // namespace

std::unique_ptr<Device> MakeCpuDevice(const CpuDeviceOptions& options, DeviceStatus* status) {
  using Code = DeviceStatus::Code;
  const IsaTier tier = options.tier.value_or(BestIsaTier());
  if (!IsaTierSupported(tier)) {
    *status = DeviceStatus(Code::kInvalidArgument,
                           std::string("this build and processor do not support the tier ") +
                               IsaTierName(tier) + "; use " + IsaTierName(BestIsaTier()));
    return nullptr;
  }
  if (options.threads < 0 || options.threads > kMaxThreads) {
    *status = DeviceStatus(Code::kInvalidArgument,
                           "threads must be between 0 and " + std::to_string(kMaxThreads));
    return nullptr;
  }
  const int threads = options.threads > 0 ? options.threads : UsableCores();
  try {
    auto device = std::make_unique<CpuDevice>(tier, threads, options.poison);
    *status = DeviceStatus();
    return device;
  } catch (const std::bad_alloc&) {
    *status = DeviceStatus(Code::kOutOfMemory, "no memory for the CPU device");
  } catch (const std::system_error& error) {
    *status = DeviceStatus(Code::kOutOfMemory,
                           "cannot start " + std::to_string(threads) + " threads: " + error.what());
  }
  return nullptr;
}

}  // namespace quire::kernels
