#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>

#include "kernels/api/device.h"

namespace quire::testing {

// A device that computes nothing but has both queues of a GPU: work and transfers wait until
// somebody needs them, so that whatever is read, overwritten or given away too early is wrong
// bytes. Of the transfers some run each time that somebody looks whether they have, by the seed. A
// step is a place in the stream of work: what a fake runner computes there it computes in
// CompleteStep().
class FakeSwapDevice final : public kernels::Device {
 public:
  // `chance`: that a copy runs when somebody looks.
  explicit FakeSwapDevice(uint64_t seed, double chance = 0.5)
      : rng_(seed), chance_(chance), link_(this) {}

  void LaunchStep() { compute_.push_back({.kind = Op::kStep}); }
  // Runs the work before the oldest step.
  void CompleteStep();
  // From now on nothing is copied, and nothing is waited for.
  void Lose() { lost_ = true; }
  // AllocateHost fails beyond.
  void LimitHostMemory(size_t bytes) { host_limit_ = bytes; }

  std::string Description() const override { return "fake"; }
  int InFlightDepth() const override { return 1; }
  size_t AvailableBytes() const override { return size_t{1} << 30; }
  kernels::DType NarrowKv() const override { return kernels::DType::kF8E4M3; }
  kernels::DeviceStatus Allocate(size_t bytes, kernels::DeviceBuffer* buffer) override;
  kernels::DeviceStatus AllocateHost(size_t bytes, kernels::HostBuffer* buffer) override;
  kernels::DeviceStatus PackLinear(const kernels::HostMatrix*, int, kernels::DType,
                                   kernels::WeightFormat,
                                   std::unique_ptr<kernels::PackedWeights>*) override;
  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override;
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override;
  std::unique_ptr<kernels::Event> RecordEvent() override { return Record(&compute_); }
  void WaitFor(const kernels::Event& event) override { Wait(&compute_, event); }
  kernels::DeviceStatus CheckError() override {
    if (lost_) return {kernels::DeviceStatus::Code::kDeviceLost, "planted device loss"};
    return {};
  }
  kernels::TransferQueue* transfers() override { return &link_; }
  kernels::Ops& ops() override;

 private:
  struct Point {
    bool passed = false;
    bool in_transfers = false;
  };
  struct Op {
    enum Kind { kCopy, kRecord, kWait, kStep } kind;
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    size_t bytes = 0;
    std::shared_ptr<Point> point = nullptr;
  };
  using Queue = std::deque<Op>;
  class Recorded;
  class Link final : public kernels::TransferQueue {
   public:
    explicit Link(FakeSwapDevice* device) : device_(device) {}
    void CopyToDevice(std::byte* device, const void* host, size_t bytes) override;
    void CopyToHost(void* host, const std::byte* device, size_t bytes) override;
    std::unique_ptr<kernels::Event> RecordEvent() override;
    void WaitFor(const kernels::Event& event) override;

   private:
    FakeSwapDevice* const device_;
  };

  std::unique_ptr<kernels::Event> Record(Queue* queue);
  static void Wait(Queue* queue, const kernels::Event& event);
  bool IsHeldBack(const Queue& queue) const;
  void RunNext(Queue* queue);
  void RunUntil(const Point& point);
  void RunSome();
  void Free(std::byte* data, size_t) override { delete[] data; }
  void FreeHost(std::byte* data, size_t) override { delete[] data; }

  std::mt19937_64 rng_;
  const double chance_;
  bool lost_ = false;
  size_t host_limit_ = SIZE_MAX;
  Queue compute_, transfers_;
  Link link_;
};

}  // namespace quire::testing
