#include "tests/support/simt/emulated_runtime.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <random>
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
constexpr char kAsAsked[] = "the emulated GPU fails as asked";

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

// A point in a stream, numbered by what has been enqueued before.
struct Stream;
struct Point {
  Stream* stream = nullptr;
  uint64_t number = 0;
  bool Passed() const;
};

struct Stream {
  // Either work or a wait for a point of the other stream.
  struct Item {
    Work work;
    Point awaited;
  };
  std::deque<Item> queue;
  uint64_t enqueued = 0;
  uint64_t done = 0;
};

bool Point::Passed() const { return stream == nullptr || stream->done >= number; }

// Both streams, and who gets ahead.
class Streams {
 public:
  Streams(QueueOrder order, uint64_t seed) : order_(order), random_(seed) {}

  Stream* compute() { return &compute_; }
  Stream* transfers() { return &transfers_; }
  void Enqueue(Stream* stream, Stream::Item item) {
    ++stream->enqueued;
    stream->queue.push_back(std::move(item));
    GetAhead();
  }
  void RunUntil(Point point) {  // by value: an item that holds it may run meanwhile
    while (!point.Passed()) {
      GetAhead();
      if (point.Passed() || RunNext(point.stream)) continue;
      RunUntil(point.stream->queue.front().awaited);
    }
  }
  // As a lost GPU's, whatever is in them counts as done.
  void Lose() { lost_ = true; }
  void RunAll() {
    for (Stream* stream : {&compute_, &transfers_}) RunUntil({stream, stream->enqueued});
  }
  void GetAhead() {
    if (lost_) {
      while (RunNext(&compute_) || RunNext(&transfers_)) continue;
    } else if (order_ == QueueOrder::kComputeFirst) {
      while (RunNext(&compute_)) continue;
    } else if (order_ == QueueOrder::kTransfersFirst) {
      while (RunNext(&transfers_)) continue;
    } else if (order_ == QueueOrder::kRandom) {
      while (random_() % 3 != 0) RunNext(random_() % 2 == 0 ? &compute_ : &transfers_);
    }
  }

 private:
  // False where there is nothing, or a wait comes first.
  static bool RunNext(Stream* stream) {
    if (stream->queue.empty() || !stream->queue.front().awaited.Passed()) return false;
    const Stream::Item item = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;
    if (item.work) item.work();
    return true;
  }

  const QueueOrder order_;
  std::mt19937_64 random_;
  Stream compute_;
  Stream transfers_;
  bool lost_ = false;
};

class EmulatedEvent final : public Event {
 public:
  EmulatedEvent(Streams* streams, Point point) : streams_(streams), point_(point) {}
  const Point& point() const { return point_; }
  bool Done() const override {
    streams_->GetAhead();
    return point_.Passed();
  }
  void Wait() override { streams_->RunUntil(point_); }

 private:
  Streams* const streams_;
  const Point point_;
};

class EmulatedGraph final : public DeviceGraph {
 public:
  EmulatedGraph(Streams* streams, std::vector<Work> work, size_t bytes)
      : streams_(streams), work_(std::move(work)), bytes_(bytes) {}
  void Launch() override {
    for (const Work& work : work_) streams_->Enqueue(streams_->compute(), {work, {}});
  }
  size_t bytes() const override { return bytes_; }

 private:
  Streams* const streams_;
  const std::vector<Work> work_;
  const size_t bytes_;
};

class EmulatedRuntime final : public cuda::GpuRuntime {
 public:
  explicit EmulatedRuntime(const EmulatedGpuOptions& options)
      : options_(options),
        table_(cuda::MakeKernelTable<SimtBackend>()),
        streams_(options.order, options.seed),
        transfers_(this),
        seed_(options.seed) {
    properties_ = {.name = "emulated GPU",
                   .compute_major = 8,
                   .compute_minor = 0,
                   .multiprocessors = options.multiprocessors,
                   .max_shared_bytes = options.max_shared_bytes};
  }
  ~EmulatedRuntime() override {
    streams_.RunAll();
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
    streams_.RunAll();  // as cudaFree does
    used_ -= allocated_.at(data);
    GiveBack(data, &allocated_);
  }
  DeviceStatus AllocatePinned(size_t bytes, std::byte** data) override {
    if (bytes > options_.pinned_bytes - pinned_used_) {
      return DeviceStatus(DeviceStatus::Code::kOutOfMemory,
                          "pinned memory of " + std::to_string(bytes) + " bytes: out of memory");
    }
    *data = Take(bytes, &pinned_);
    pinned_used_ += bytes;
    return DeviceStatus();
  }
  void FreePinned(std::byte* data) override {
    streams_.RunAll();
    pinned_used_ -= pinned_.at(data);
    GiveBack(data, &pinned_);
  }

  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    EnqueueCopy(streams_.compute(), device, host, bytes);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    EnqueueCopy(streams_.compute(), host, device, bytes);
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
  std::unique_ptr<Event> RecordEvent() override { return Record(streams_.compute()); }
  TransferQueue& transfers() override { return transfers_; }
  void WaitFor(const Event& event) override { Await(streams_.compute(), event); }

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
    return std::make_unique<EmulatedGraph>(&streams_, std::exchange(captured_, {}), bytes);
  }

  DeviceStatus Error() override { return error_; }

 private:
  using Buffers = std::map<std::byte*, size_t>;

  class Transfers final : public TransferQueue {
   public:
    explicit Transfers(EmulatedRuntime* runtime) : runtime_(runtime) {}
    void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
      runtime_->EnqueueCopy(stream(), device, host, bytes);
    }
    void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
      runtime_->EnqueueCopy(stream(), host, device, bytes);
    }
    std::unique_ptr<Event> RecordEvent() override { return runtime_->Record(stream()); }
    void WaitFor(const Event& event) override { runtime_->Await(stream(), event); }

   private:
    Stream* stream() { return runtime_->streams_.transfers(); }
    EmulatedRuntime* const runtime_;
  };

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
  void EnqueueCopy(Stream* stream, void* to, const void* from, size_t bytes) {
    KERNELS_CHECK(!capturing_);
    streams_.Enqueue(stream, {[=, this] { Copy(to, from, bytes); }, {}});
  }
  std::unique_ptr<Event> Record(Stream* stream) {
    KERNELS_CHECK(!capturing_);
    return std::make_unique<EmulatedEvent>(&streams_, Point{stream, stream->enqueued});
  }
  void Await(Stream* stream, const Event& event) {
    KERNELS_CHECK(!capturing_);
    streams_.Enqueue(stream, {{}, static_cast<const EmulatedEvent&>(event).point()});
  }
  void Copy(void* to, const void* from, size_t bytes) {
    if (error_.ok() && copies_run_++ == options_.lost_after_copies) Lose(kAsAsked);
    if (bytes > 0 && error_.ok()) std::memcpy(to, from, bytes);
  }
  void Run(const KernelEntry& entry, const LaunchShape& shape, const void* args) {
    if (error_.ok() && kernels_run_++ == options_.lost_after) Lose(kAsAsked);
    if (!error_.ok()) return;
    const std::string found = RunGrid(entry, shape, args, ++seed_);
    if (found.empty()) return;
    ADD_FAILURE() << found << "; seed " << seed_;
    Lose(found);
  }
  void Lose(const std::string& why) {
    error_ = DeviceStatus(DeviceStatus::Code::kDeviceLost, why);
    streams_.Lose();
  }
  void Enqueue(Work work) {
    if (capturing_) {
      captured_.push_back(std::move(work));
    } else {
      streams_.Enqueue(streams_.compute(), {std::move(work), {}});
    }
  }

  const EmulatedGpuOptions options_;
  const cuda::KernelTable table_;
  GpuProperties properties_;
  Streams streams_;
  Transfers transfers_;
  Buffers allocated_;
  Buffers pinned_;
  size_t used_ = 0;
  size_t pinned_used_ = 0;
  uint64_t seed_ = 0;
  bool capturing_ = false;
  int32_t failed_captures_ = 0;
  int64_t kernels_run_ = 0;
  int64_t copies_run_ = 0;
  std::vector<Work> captured_;
  DeviceStatus error_;
};

}  // namespace

std::unique_ptr<cuda::GpuRuntime> MakeTestGpu(const EmulatedGpuOptions& options) {
  return std::make_unique<EmulatedRuntime>(options);
}

size_t DelayingCopyBytes() { return 256; }

}  // namespace quire::kernels::simt
