#pragma once

#include <cstddef>
#include <utility>

#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::cuda {

// Owns memory of a runtime that must outlive it: of the GPU, or pinned memory of the host.
class GpuBuffer {
 public:
  enum class Kind { kDevice, kPinned };

  GpuBuffer() = default;
  GpuBuffer(GpuBuffer&& other) noexcept { *this = std::move(other); }
  GpuBuffer& operator=(GpuBuffer&& other) noexcept {
    if (this != &other) {
      Reset();
      runtime_ = std::exchange(other.runtime_, nullptr);
      data_ = std::exchange(other.data_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
      kind_ = other.kind_;
    }
    return *this;
  }
  ~GpuBuffer() { Reset(); }

  // Replaces what it holds. Contents are unspecified.
  DeviceStatus Allocate(GpuRuntime* runtime, Kind kind, size_t bytes) {
    Reset();
    DeviceStatus status = kind == Kind::kDevice ? runtime->Allocate(bytes, &data_)
                                                : runtime->AllocatePinned(bytes, &data_);
    if (status.ok()) {
      runtime_ = runtime;
      bytes_ = bytes;
      kind_ = kind;
    }
    return status;
  }
  void Reset() {
    if (data_ != nullptr && kind_ == Kind::kDevice) runtime_->Free(data_);
    if (data_ != nullptr && kind_ == Kind::kPinned) runtime_->FreePinned(data_);
    data_ = nullptr;
    bytes_ = 0;
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  GpuRuntime* runtime_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Kind kind_ = Kind::kDevice;
};

}  // namespace quire::kernels::cuda
