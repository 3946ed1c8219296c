#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/api/types.h"

namespace quire::kernels {

class Device;
class Ops;

enum class MemoryKind : uint8_t { kDevice, kHost };

// Owns a piece of memory that came from a device, aligned to 256 bytes. Move-only; must not outlive
// the device.
template <MemoryKind kKind>
class OwnedBuffer {
 public:
  OwnedBuffer() = default;
  OwnedBuffer(Device* device, std::byte* data, size_t bytes)
      : device_(device), data_(data), bytes_(bytes) {}
  OwnedBuffer(OwnedBuffer&& other) noexcept { *this = std::move(other); }
  OwnedBuffer& operator=(OwnedBuffer&& other) noexcept;
  ~OwnedBuffer() { Reset(); }

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

using DeviceBuffer = OwnedBuffer<MemoryKind::kDevice>;
// Memory of the host that the device copies from and to without a detour.
using HostBuffer = OwnedBuffer<MemoryKind::kHost>;

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

// A second in-order queue of a device, for copies beside its stream of work: the two run in any
// order relative to each other, except where one waits for an event of the other. Thread rule and
// errors are those of the device; not used while it records a graph.
class TransferQueue {
 public:
  virtual ~TransferQueue() = default;

  // As those of Device. `host` memory comes from AllocateHost: other memory would hold up the
  // caller.
  virtual void CopyToDevice(std::byte* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(void* host, const std::byte* device, size_t bytes) = 0;
  virtual std::unique_ptr<Event> RecordEvent() = 0;
  // What is enqueued here later runs only after `event`, which either queue of the device recorded.
  virtual void WaitFor(const Event& event) = 0;
};

// Work that a device recorded, to be enqueued again and again with the arguments that it had then:
// what it reads and writes must stay where it was. Must not outlive the device.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void Launch() = 0;
  virtual size_t bytes() const = 0;  // device memory it holds, as far as the device can tell
};

// One compute device: its memory, its packed weights and its in-order stream of work.
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
  // Whether that memory is the device's alone, and not the host's, which others need too.
  virtual bool HasOwnMemory() const { return false; }

  // What a checkpoint of this type is computed in unless the user says otherwise.
  virtual DType DefaultCompute(DType checkpoint) const {
    return checkpoint == DType::kF32 ? DType::kF32 : DType::kBF16;
  }

  // The type of one byte that its operations take keys and values in, besides that of `act`.
  virtual DType NarrowKv() const = 0;

  // Contents are unspecified. Large allocations may be backed by pages on first touch.
  virtual DeviceStatus Allocate(size_t bytes, DeviceBuffer* buffer) = 0;
  virtual DeviceStatus AllocateHost(size_t bytes, HostBuffer* buffer) = 0;

  // Stacks `parts` by rows (Q, K and V become one matrix, as do gate and up) and packs them for
  // computation in `compute` (kF32 or kBF16); elements are converted, rounding to nearest even.
  // InvalidArgument for a format that the device does not have; kDense all do.
  virtual DeviceStatus PackLinear(const HostMatrix* parts, int num_parts, DType compute,
                                  WeightFormat format, std::unique_ptr<PackedWeights>* weights) = 0;

  // Enqueued copies. `host` memory must stay untouched until an event recorded after the call is
  // done.
  virtual void CopyToDevice(std::byte* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(void* host, const std::byte* device, size_t bytes) = 0;

  virtual std::unique_ptr<Event> RecordEvent() = 0;
  virtual DeviceStatus CheckError() = 0;

  // Null where copies would only take time from what computes.
  virtual TransferQueue* transfers() { return nullptr; }
  // What is enqueued later in the stream of work runs only after `event`, which either queue of the
  // device recorded. Not while a graph is recorded.
  virtual void WaitFor(const Event& event) { KERNELS_CHECK(event.Done()); }

  // Where CanCapture(): the operations of Ops that are called between the two are recorded and do
  // not run, and nothing else is asked of the device. They are those of a step after its BeginStep,
  // every sequence of which has one token; the graph is good for any such step within the same
  // capacity. Null: recording failed; unless CheckError() says that the device has, too, the work
  // can be enqueued instead.
  virtual bool CanCapture() const { return false; }
  virtual void BeginCapture() { KERNELS_CHECK(CanCapture()); }
  virtual std::unique_ptr<DeviceGraph> EndCapture() { return nullptr; }

  virtual Ops& ops() = 0;

 private:
  template <MemoryKind kKind>
  friend class OwnedBuffer;
  virtual void Free(std::byte* data, size_t bytes) = 0;
  virtual void FreeHost(std::byte* data, size_t bytes) = 0;
};

template <MemoryKind kKind>
OwnedBuffer<kKind>& OwnedBuffer<kKind>::operator=(OwnedBuffer&& other) noexcept {
  if (this != &other) {
    Reset();
    device_ = std::exchange(other.device_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

template <MemoryKind kKind>
void OwnedBuffer<kKind>::Reset() {
  if (data_ != nullptr) {
    if constexpr (kKind == MemoryKind::kDevice) {
      device_->Free(data_, bytes_);
    } else {
      device_->FreeHost(data_, bytes_);
    }
  }
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace quire::kernels
