#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/api/device.h"
#include "kernels/cuda/kernel_entry.h"

namespace quire::kernels::cuda {

struct KernelTable;

struct GpuProperties {
  std::string name;
  int32_t compute_major = 0;
  int32_t compute_minor = 0;
  int32_t multiprocessors = 0;
  int32_t max_shared_bytes = 0;  // that a block may ask for
};

// out = in * weights^T (+ bias) (+ out), all dense and row-major.
struct GemmArgs {
  DType type = DType::kBF16;      // of `in` and `weights`
  const void* in = nullptr;       // [m, k]
  const void* weights = nullptr;  // [n, k]
  const float* bias = nullptr;    // [n] or null
  float* out = nullptr;           // [m, n]
  int64_t m = 0, n = 0, k = 0;
  bool accumulate = false;
  // By one algorithm for every m, without a split of k: a row's bits do not depend on the others.
  bool fixed_algorithm = false;
};

// The little of a GPU's run-time library that the device is made of: memory, a stream of work, one
// of transfers, and launches. Two of them: CUDA's (cuda_runtime.h) and the emulator's, under which
// the whole device runs in tests. One thread at a time. What is enqueued runs later, in order; the
// first failure is sticky and shows in Error(), and nothing is enqueued after it.
class GpuRuntime {
 public:
  virtual ~GpuRuntime() = default;

  virtual const GpuProperties& properties() const = 0;
  virtual const KernelTable& kernels() const = 0;

  virtual size_t FreeBytes() const = 0;
  virtual DeviceStatus Allocate(size_t bytes, std::byte** data) = 0;
  virtual void Free(std::byte* data) = 0;
  // Host memory that the GPU copies from and to without a detour.
  virtual DeviceStatus AllocatePinned(size_t bytes, std::byte** data) = 0;
  virtual void FreePinned(std::byte* data) = 0;

  virtual void CopyToDevice(std::byte* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(void* host, const std::byte* device, size_t bytes) = 0;
  // `args`: the entry's Args, copied before the call returns.
  virtual void Launch(const KernelEntry& entry, const LaunchShape& shape, const void* args,
                      size_t arg_bytes) = 0;
  // How many blocks of the kernel the whole GPU runs at the same time.
  virtual int32_t ResidentBlocks(const KernelEntry& entry, int32_t shared_bytes) const = 0;
  virtual void Gemm(const GemmArgs& args) = 0;
  virtual std::unique_ptr<Event> RecordEvent() = 0;

  virtual TransferQueue& transfers() = 0;
  // What is enqueued later in the stream of work runs only after `event`, of either stream.
  virtual void WaitFor(const Event& event) = 0;

  // What is launched between the two is recorded and not run; nothing is allocated, freed, copied
  // or waited for in between. Null where that failed: the GPU may be well all the same, see
  // Error().
  virtual void BeginCapture() = 0;
  virtual std::unique_ptr<DeviceGraph> EndCapture() = 0;

  virtual DeviceStatus Error() = 0;
};

}  // namespace quire::kernels::cuda
