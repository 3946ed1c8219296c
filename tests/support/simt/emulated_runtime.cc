#include "tests/support/simt/emulated_runtime.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "kernels/api/float_convert.h"
#include "kernels/cuda/kernel_table.h"
#include "tests/support/simt/simt_backend.h"

namespace quire::kernels::simt {
namespace {

using cuda::GemmArgs;
using cuda::GpuProperties;
using cuda::KernelEntry;
using cuda::LaunchShape;
using Work = std::function<void()>;

constexpr int kPoisonByte = 0xff;  // a NaN in every element type
constexpr size_t kAlignment = 256;

float ElementAt(const void* data, DType type, int64_t index) {
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  return type == DType::kBF16 ? Bf16ToFloat(bits) : F16ToFloat(bits);
}

void Multiply(const GemmArgs& args) {
  for (int64_t row = 0; row < args.m; ++row) {
    for (int64_t col = 0; col < args.n; ++col) {
      float sum = 0;
      for (int64_t i = 0; i < args.k; ++i) {
        sum += ElementAt(args.in, args.type, row * args.k + i) *
               ElementAt(args.weights, args.type, col * args.k + i);
      }
      if (args.bias != nullptr) sum += args.bias[col];
      float& out = args.out[row * args.n + col];
      out = args.accumulate ? out + sum : sum;
    }
  }
}

// The one stream, numbered by what has been enqueued and what has run.
class Stream {
 public:
  void Enqueue(Work work) {
    ++enqueued_;
    queue_.push_back(std::move(work));
  }
  void RunUntil(uint64_t number) {
    while (done_ < number) {
      const Work work = std::move(queue_.front());
      queue_.pop_front();
      ++done_;
      work();
    }
  }
  void RunAll() { RunUntil(enqueued_); }
  uint64_t enqueued() const { return enqueued_; }
  uint64_t done() const { return done_; }

 private:
  std::deque<Work> queue_;
  uint64_t enqueued_ = 0;
  uint64_t done_ = 0;
};

class EmulatedEvent final : public Event {
 public:
  EmulatedEvent(Stream* stream, uint64_t number) : stream_(stream), number_(number) {}
  bool Done() const override { return stream_->done() >= number_; }
  void Wait() override { stream_->RunUntil(number_); }

 private:
  Stream* const stream_;
  const uint64_t number_;
};

class EmulatedGraph final : public DeviceGraph {
 public:
  EmulatedGraph(Stream* stream, std::vector<Work> work, size_t bytes)
      : stream_(stream), work_(std::move(work)), bytes_(bytes) {}
  void Launch() override {
    for (const Work& work : work_) stream_->Enqueue(work);
  }
  size_t bytes() const override { return bytes_; }

 private:
  Stream* const stream_;
  const std::vector<Work> work_;
  const size_t bytes_;
};

class EmulatedRuntime final : public cuda::GpuRuntime {
 public:
  explicit EmulatedRuntime(const EmulatedGpuOptions& options)
      : options_(options), table_(cuda::MakeKernelTable<SimtBackend>()), seed_(options.seed) {
    properties_ = {.name = "emulated GPU",
                   .compute_major = 8,
                   .compute_minor = 0,
                   .multiprocessors = options.multiprocessors,
                   .max_shared_bytes = options.max_shared_bytes};
  }
  ~EmulatedRuntime() override {
    stream_.RunAll();
    EXPECT_TRUE(allocated_.empty()) << allocated_.size() << " buffers of the GPU were not freed";
    EXPECT_TRUE(pinned_.empty()) << pinned_.size() << " pinned buffers were not freed";
  }

  const GpuProperties& properties() const override { return properties_; }
  const cuda::KernelTable& kernels() const override { return table_; }
  size_t FreeBytes() const override { return options_.memory_bytes - used_; }

  DeviceStatus Allocate(size_t bytes, std::byte** data) override {
    KERNELS_CHECK(!capturing_);
    if (bytes > FreeBytes()) {
      return DeviceStatus(DeviceStatus::Code::kOutOfMemory,
                          "GPU memory of " + std::to_string(bytes) + " bytes: out of memory");
    }
    *data = Take(bytes, &allocated_);
    used_ += bytes;
    return DeviceStatus();
  }
  void Free(std::byte* data) override {
    KERNELS_CHECK(!capturing_);
    stream_.RunAll();  // as cudaFree does
    used_ -= allocated_.at(data);
    GiveBack(data, &allocated_);
  }
  DeviceStatus AllocatePinned(size_t bytes, std::byte** data) override {
    *data = Take(bytes, &pinned_);
    return DeviceStatus();
  }
  void FreePinned(std::byte* data) override {
    stream_.RunAll();
    GiveBack(data, &pinned_);
  }

  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    KERNELS_CHECK(!capturing_);
    Enqueue([=, this] { Copy(device, host, bytes); });
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    KERNELS_CHECK(!capturing_);
    Enqueue([=, this] { Copy(host, device, bytes); });
  }
  void Launch(const KernelEntry& entry, const LaunchShape& shape, const void* args,
              size_t arg_bytes) override {
    KERNELS_CHECK(shape.shared_bytes <= properties_.max_shared_bytes);
    const auto* bytes = static_cast<const std::byte*>(args);
    auto copy = std::make_shared<std::vector<std::byte>>(bytes, bytes + arg_bytes);
    Enqueue([this, entry, shape, copy] { Run(entry, shape, copy->data()); });
  }
  int32_t ResidentBlocks(const KernelEntry&, int32_t) const override {
    return properties_.multiprocessors;
  }
  void Gemm(const GemmArgs& args) override {
    Enqueue([this, args] {
      if (error_.ok()) Multiply(args);
    });
  }
  std::unique_ptr<Event> RecordEvent() override {
    KERNELS_CHECK(!capturing_);
    return std::make_unique<EmulatedEvent>(&stream_, stream_.enqueued());
  }

  void BeginCapture() override {
    KERNELS_CHECK(!capturing_);
    capturing_ = true;
  }
  std::unique_ptr<DeviceGraph> EndCapture() override {
    KERNELS_CHECK(capturing_);
    capturing_ = false;
    if (failed_captures_ < options_.failing_captures) {
      ++failed_captures_;
      captured_.clear();
      return nullptr;
    }
    const size_t bytes = captured_.size() * cuda::kMaxArgBytes;
    return std::make_unique<EmulatedGraph>(&stream_, std::exchange(captured_, {}), bytes);
  }

  DeviceStatus Error() override { return error_; }

 private:
  using Buffers = std::map<std::byte*, size_t>;

  static std::byte* Take(size_t bytes, Buffers* buffers) {
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
    KERNELS_CHECK(data != nullptr || rounded == 0);
    std::memset(data, kPoisonByte, rounded);
    buffers->emplace(data, bytes);
    return data;
  }
  static void GiveBack(std::byte* data, Buffers* buffers) {
    KERNELS_CHECK(buffers->erase(data) == 1);
    std::free(data);
  }
  void Copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0 && error_.ok()) std::memcpy(to, from, bytes);
  }
  void Run(const KernelEntry& entry, const LaunchShape& shape, const void* args) {
    if (!error_.ok()) return;
    if (kernels_run_++ == options_.lost_after) {
      error_ = DeviceStatus(DeviceStatus::Code::kDeviceLost, "the emulated GPU fails as asked");
      return;
    }
    const std::string found = RunGrid(entry, shape, args, ++seed_);
    if (found.empty()) return;
    ADD_FAILURE() << found << "; seed " << seed_;
    error_ = DeviceStatus(DeviceStatus::Code::kDeviceLost, found);
  }
  void Enqueue(Work work) {
    if (capturing_) {
      captured_.push_back(std::move(work));
    } else {
      stream_.Enqueue(std::move(work));
    }
  }

  const EmulatedGpuOptions options_;
  const cuda::KernelTable table_;
  GpuProperties properties_;
  Stream stream_;
  Buffers allocated_;
  Buffers pinned_;
  size_t used_ = 0;
  uint64_t seed_ = 0;
  bool capturing_ = false;
  int32_t failed_captures_ = 0;
  int64_t kernels_run_ = 0;
  std::vector<Work> captured_;
  DeviceStatus error_;
};

}  // namespace

std::unique_ptr<cuda::GpuRuntime> MakeEmulatedGpu(const EmulatedGpuOptions& options) {
  return std::make_unique<EmulatedRuntime>(options);
}

}  // namespace quire::kernels::simt
