#include "tests/support/fake_swap_device.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/base/check.h"

namespace quire::testing {

class FakeSwapDevice::Recorded final : public kernels::Event {
 public:
  Recorded(FakeSwapDevice* device, std::shared_ptr<Point> point)
      : device_(device), point_(std::move(point)) {}
  bool Done() const override {
    device_->RunSome();
    return point_->passed;
  }
  void Wait() override { device_->RunUntil(*point_); }

  const std::shared_ptr<Point>& point() const { return point_; }

 private:
  FakeSwapDevice* const device_;
  const std::shared_ptr<Point> point_;
};

void FakeSwapDevice::CompleteStep() {
  while (true) {
    QUIRE_CHECK(!compute_.empty()) << "no step was launched";
    const Op& next = compute_.front();
    if (next.kind == Op::kStep) return compute_.pop_front();
    if (IsHeldBack(compute_)) RunUntil(*next.point);
    RunNext(&compute_);
  }
}

kernels::DeviceStatus FakeSwapDevice::Allocate(size_t bytes, kernels::DeviceBuffer* buffer) {
  *buffer = kernels::DeviceBuffer(this, new std::byte[bytes], bytes);
  std::memset(buffer->data(), 0xff, bytes);
  return {};
}

kernels::DeviceStatus FakeSwapDevice::AllocateHost(size_t bytes, kernels::HostBuffer* buffer) {
  if (bytes > host_limit_) return {kernels::DeviceStatus::Code::kOutOfMemory, "no more memory"};
  *buffer = kernels::HostBuffer(this, new std::byte[bytes], bytes);
  std::memset(buffer->data(), 0xff, bytes);
  return {};
}

kernels::DeviceStatus FakeSwapDevice::PackLinear(const kernels::HostMatrix*, int, kernels::DType,
                                                 kernels::WeightFormat,
                                                 std::unique_ptr<kernels::PackedWeights>*) {
  return {kernels::DeviceStatus::Code::kOutOfMemory, "this device computes nothing"};
}

kernels::Ops& FakeSwapDevice::ops() {
  QUIRE_CHECK(false) << "this device computes nothing";
  std::abort();
}

void FakeSwapDevice::CopyToDevice(std::byte* device, const void* host, size_t bytes) {
  compute_.push_back({Op::kCopy, device, static_cast<const std::byte*>(host), bytes, nullptr});
}

void FakeSwapDevice::CopyToHost(void* host, const std::byte* device, size_t bytes) {
  compute_.push_back({Op::kCopy, static_cast<std::byte*>(host), device, bytes, nullptr});
}

void FakeSwapDevice::Link::CopyToDevice(std::byte* device, const void* host, size_t bytes) {
  device_->transfers_.push_back(
      {Op::kCopy, device, static_cast<const std::byte*>(host), bytes, nullptr});
}

void FakeSwapDevice::Link::CopyToHost(void* host, const std::byte* device, size_t bytes) {
  device_->transfers_.push_back({Op::kCopy, static_cast<std::byte*>(host), device, bytes, nullptr});
}

std::unique_ptr<kernels::Event> FakeSwapDevice::Link::RecordEvent() {
  return device_->Record(&device_->transfers_);
}

void FakeSwapDevice::Link::WaitFor(const kernels::Event& event) {
  Wait(&device_->transfers_, event);
}

std::unique_ptr<kernels::Event> FakeSwapDevice::Record(Queue* queue) {
  auto point = std::make_shared<Point>();
  point->in_transfers = queue == &transfers_;
  queue->push_back({.kind = Op::kRecord, .point = point});
  return std::make_unique<Recorded>(this, std::move(point));
}

void FakeSwapDevice::Wait(Queue* queue, const kernels::Event& event) {
  queue->push_back({.kind = Op::kWait, .point = static_cast<const Recorded&>(event).point()});
}

bool FakeSwapDevice::IsHeldBack(const Queue& queue) const {
  return !lost_ && queue.front().kind == Op::kWait && !queue.front().point->passed;
}

void FakeSwapDevice::RunNext(Queue* queue) {
  const Op op = std::move(queue->front());
  queue->pop_front();
  QUIRE_CHECK(lost_ || op.kind != Op::kStep) << "it would wait for a step that nobody completes";
  if (op.kind == Op::kCopy && !lost_) std::memcpy(op.to, op.from, op.bytes);
  if (op.kind == Op::kRecord) op.point->passed = true;
}

void FakeSwapDevice::RunUntil(const Point& point) {
  Queue& queue = point.in_transfers ? transfers_ : compute_;
  while (!point.passed) {
    QUIRE_CHECK(!queue.empty());
    if (IsHeldBack(queue)) {
      const std::shared_ptr<Point> other = queue.front().point;
      RunUntil(*other);
    }
    RunNext(&queue);
  }
}

// Work runs up to the next step, which costs nothing; copies as chance has it.
void FakeSwapDevice::RunSome() {
  while (!compute_.empty() && compute_.front().kind != Op::kStep && !IsHeldBack(compute_)) {
    RunNext(&compute_);
  }
  while (!transfers_.empty() && !IsHeldBack(transfers_) &&
         std::bernoulli_distribution(chance_)(rng_)) {
    RunNext(&transfers_);
  }
}

}  // namespace quire::testing
