#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/api/types.h"

namespace quire::kernels {

class Device;
class Ops;

// Owns a piece of device memory, aligned to 256 bytes. Move-only; must not outlive its device.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Device* device, std::byte* data, size_t bytes)
      : device_(device), data_(data), bytes_(bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  ~DeviceBuffer() { Reset(); }

  void Reset();
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// A linear layer's weights [rows = outputs, cols = inputs] in whatever form the device multiplies
// fastest. Opaque; made once at load time and read by Ops::Linear and Ops::Embed.
class PackedWeights {
 public:
  virtual ~PackedWeights() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  virtual size_t bytes() const = 0;  // device memory it holds
};

// A point in the device's stream of work.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool Done() const = 0;
  virtual void Wait() = 0;
};

// One compute device: its memory, its packed weights and its single in-order stream of work.
// Used by one thread at a time (the engine thread); loading before that may use any one thread.
// Work is enqueued and may run later; an error found while it runs is sticky and shows up in
// CheckError(), which the runner asks once a step.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string Description() const = 0;  // one line for people: kind, tier, threads
  // Steps that may be launched before an older one has completed: 0 where launching computes.
  virtual int InFlightDepth() const = 0;

  // Memory that could still be allocated: what is free, within the process's cgroup limit.
  virtual size_t AvailableBytes() const = 0;

  // Contents are unspecified. Large allocations may be backed by pages on first touch.
  virtual DeviceStatus Allocate(size_t bytes, DeviceBuffer* buffer) = 0;

  // Stacks `parts` by rows (Q, K and V become one matrix, as do gate and up) and packs them for
  // computation in `compute` (kF32 or kBF16); elements are converted, rounding to nearest even.
  virtual DeviceStatus PackLinear(const HostMatrix* parts, int num_parts, DType compute,
                                  std::unique_ptr<PackedWeights>* weights) = 0;

  // Enqueued copies. `host` memory must stay untouched until an event recorded after the call is
  // done.
  virtual void CopyToDevice(std::byte* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(void* host, const std::byte* device, size_t bytes) = 0;

  virtual std::unique_ptr<Event> RecordEvent() = 0;
  virtual DeviceStatus CheckError() = 0;
  virtual Ops& ops() = 0;

 private:
  friend class DeviceBuffer;
  virtual void Free(std::byte* data, size_t bytes) = 0;
};

inline DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  if (this != &other) {
    Reset();
    device_ = std::exchange(other.device_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

inline void DeviceBuffer::Reset() {
  if (data_ != nullptr) device_->Free(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace quire::kernels
