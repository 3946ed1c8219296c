#include "kernels/cuda/cuda_runtime.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/kernel_table.h"

namespace quire::kernels::cuda {
namespace {

using Code = DeviceStatus::Code;

std::string Describe(const char* what, cudaError_t error) {
  return std::string(what) + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) +
         ")";
}

// Events that wait for their next use: every step records some. Who waits for one sleeps, where the
// library would have its thread spin.
class EventPool {
 public:
  EventPool() = default;
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool() {
    for (cudaEvent_t event : free_) cudaEventDestroy(event);
  }
  // Null where the device has failed.
  cudaEvent_t Take() {
    cudaEvent_t event = nullptr;
    if (free_.empty()) {
      cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync);
    } else {
      event = free_.back();
      free_.pop_back();
    }
    return event;
  }
  void GiveBack(cudaEvent_t event) {
    if (event != nullptr) free_.push_back(event);
  }

 private:
  std::vector<cudaEvent_t> free_;
};

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(EventPool* pool) : pool_(pool), event_(pool->Take()) {}
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent() override { pool_->GiveBack(event_); }
  cudaEvent_t get() const { return event_; }
  // A failed device makes both true, and shows in Device::CheckError.
  bool Done() const override {
    return event_ == nullptr || cudaEventQuery(event_) != cudaErrorNotReady;
  }
  void Wait() override {
    if (event_ != nullptr) cudaEventSynchronize(event_);
  }

 private:
  EventPool* const pool_;  // the runtime's, which outlives its events
  cudaEvent_t event_;
};

class CudaGraph final : public DeviceGraph {
 public:
  CudaGraph(cudaGraphExec_t graph, size_t bytes, cudaStream_t stream, cudaError_t* failure)
      : graph_(graph), bytes_(bytes), stream_(stream), failure_(failure) {}
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph() override { cudaGraphExecDestroy(graph_); }
  void Launch() override {
    if (*failure_ == cudaSuccess) *failure_ = cudaGraphLaunch(graph_, stream_);
  }
  size_t bytes() const override { return bytes_; }

 private:
  cudaGraphExec_t graph_;
  const size_t bytes_;
  cudaStream_t stream_;
  cudaError_t* const failure_;  // the runtime's, which outlives its graphs
};

class CudaRuntime final : public GpuRuntime {
 public:
  ~CudaRuntime() override;
  DeviceStatus Start();

  const GpuProperties& properties() const override { return properties_; }
  const KernelTable& kernels() const override { return GpuKernels(); }
  size_t FreeBytes() const override;
  DeviceStatus Allocate(size_t bytes, std::byte** data) override;
  void Free(std::byte* data) override { cudaFree(data); }
  DeviceStatus AllocatePinned(size_t bytes, std::byte** data) override;
  void FreePinned(std::byte* data) override { cudaFreeHost(data); }
  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    Copy(stream_, device, host, bytes, cudaMemcpyHostToDevice);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    Copy(stream_, host, device, bytes, cudaMemcpyDeviceToHost);
  }
  void Launch(const KernelEntry& entry, const LaunchShape& shape, const void* args,
              size_t arg_bytes) override;
  int32_t ResidentBlocks(const KernelEntry& entry, int32_t shared_bytes) const override;
  void Gemm(const GemmArgs& args) override;
  std::unique_ptr<Event> RecordEvent() override { return Record(stream_); }
  TransferQueue& transfers() override { return transfers_; }
  void WaitFor(const Event& event) override { Wait(stream_, event); }
  void BeginCapture() override;
  std::unique_ptr<DeviceGraph> EndCapture() override;
  DeviceStatus Error() override;

 private:
  // Lets in what the runtime does to its second stream.
  class Transfers final : public TransferQueue {
   public:
    explicit Transfers(CudaRuntime* runtime) : runtime_(runtime) {}
    void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
      runtime_->Copy(stream(), device, host, bytes, cudaMemcpyHostToDevice);
    }
    void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
      runtime_->Copy(stream(), host, device, bytes, cudaMemcpyDeviceToHost);
    }
    std::unique_ptr<Event> RecordEvent() override { return runtime_->Record(stream()); }
    void WaitFor(const Event& event) override { runtime_->Wait(stream(), event); }

   private:
    cudaStream_t stream() const { return runtime_->transfer_stream_; }
    CudaRuntime* const runtime_;
  };

  void Copy(cudaStream_t stream, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    if (bytes > 0) Then("a copy", [&] { return cudaMemcpyAsync(to, from, bytes, kind, stream); });
  }
  std::unique_ptr<Event> Record(cudaStream_t stream);
  void Wait(cudaStream_t stream, const Event& event);
  // Enqueues unless something has failed, and keeps the first failure.
  template <typename Call>
  void Then(const char* what, Call&& call) {
    if (failure_ != cudaSuccess || !error_.ok()) return;
    failure_ = call();
    if (failure_ != cudaSuccess) error_ = DeviceStatus(Code::kDeviceLost, Describe(what, failure_));
  }

  GpuProperties properties_;
  EventPool events_;
  std::unique_ptr<CublasLt> blas_;
  cudaStream_t stream_ = nullptr;
  cudaStream_t transfer_stream_ = nullptr;
  Transfers transfers_{this};
  bool capturing_ = false;
  void* workspace_ = nullptr;
  cudaError_t failure_ = cudaSuccess;
  DeviceStatus error_;
  bool well_before_capture_ = false;
};

DeviceStatus CudaRuntime::Start() {
  const auto missing = [](std::string why) { return DeviceStatus(Code::kInvalidArgument, why); };
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    cudaGetLastError();
    if (error == cudaErrorInsufficientDriver) {
      return missing("no NVIDIA driver, or one too old for this build's CUDA run-time library");
    }
    if (error == cudaErrorNoDevice || error == cudaSuccess) return missing("no GPU can be seen");
    // On machines whose GPUs share an NVSwitch.
    const char* hint = error == cudaErrorSystemNotReady ? "; is nvidia-fabricmanager running?" : "";
    return missing(Describe("asking for GPUs", error) + hint);
  }
  cudaDeviceProp device;
  if (const cudaError_t error = cudaGetDeviceProperties(&device, 0); error != cudaSuccess) {
    return missing(Describe("asking the GPU what it is", error));
  }
  properties_ = {.name = device.name,
                 .compute_major = device.major,
                 .compute_minor = device.minor,
                 .multiprocessors = device.multiProcessorCount,
                 .max_shared_bytes = static_cast<int32_t>(device.sharedMemPerBlockOptin)};
  if (device.major < kMinComputeMajor) {
    return missing("the GPU " + properties_.name + " has compute capability " +
                   std::to_string(device.major) + "." + std::to_string(device.minor) +
                   "; 8.0 (Ampere) or newer is needed");
  }
  DeviceStatus status;
  blas_ = CublasLt::Load(&status);
  if (blas_ == nullptr) return status;
  cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
  if (error == cudaSuccess) {
    error = cudaStreamCreateWithFlags(&transfer_stream_, cudaStreamNonBlocking);
  }
  if (error == cudaSuccess) error = cudaMalloc(&workspace_, CublasLt::kWorkspaceBytes);
  if (error != cudaSuccess) return missing(Describe("starting the GPU", error));
  return DeviceStatus();
}

CudaRuntime::~CudaRuntime() {
  for (cudaStream_t stream : {stream_, transfer_stream_}) {
    if (stream == nullptr) continue;
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
  }
  blas_.reset();
  if (workspace_ != nullptr) cudaFree(workspace_);
}

size_t CudaRuntime::FreeBytes() const {
  size_t free = 0;
  size_t total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
}

DeviceStatus CudaRuntime::Allocate(size_t bytes, std::byte** data) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // a lack of memory does not stick
    const Code code = error == cudaErrorMemoryAllocation ? Code::kOutOfMemory : Code::kDeviceLost;
    return DeviceStatus(
        code, Describe(("GPU memory of " + std::to_string(bytes) + " bytes").c_str(), error));
  }
  *data = static_cast<std::byte*>(memory);
  return DeviceStatus();
}

DeviceStatus CudaRuntime::AllocatePinned(size_t bytes, std::byte** data) {
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();
    const Code code = error == cudaErrorMemoryAllocation ? Code::kOutOfMemory : Code::kDeviceLost;
    return DeviceStatus(
        code, Describe(("pinned memory of " + std::to_string(bytes) + " bytes").c_str(), error));
  }
  *data = static_cast<std::byte*>(memory);
  return DeviceStatus();
}

// Beyond 48 KB a kernel has to ask for its shared memory; asking again costs little.
cudaError_t AskForShared(const KernelEntry& entry, int32_t bytes) {
  if (bytes <= 48 * 1024) return cudaSuccess;
  return cudaFuncSetAttribute(entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

int32_t CudaRuntime::ResidentBlocks(const KernelEntry& entry, int32_t shared_bytes) const {
  int blocks = 0;
  cudaError_t error = AskForShared(entry, shared_bytes);
  if (error == cudaSuccess) {
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, entry.function, entry.threads,
                                                          static_cast<size_t>(shared_bytes));
  }
  if (error != cudaSuccess) cudaGetLastError();  // a launch would say it again
  return std::max(error == cudaSuccess ? blocks : 1, 1) * properties_.multiprocessors;
}

void CudaRuntime::Launch(const KernelEntry& entry, const LaunchShape& shape, const void* args,
                         size_t) {
  Then(entry.name, [&]() -> cudaError_t {
    const cudaError_t error = AskForShared(entry, shape.shared_bytes);
    if (error != cudaSuccess) return error;
    void* arguments[] = {const_cast<void*>(args)};
    return cudaLaunchKernel(
        entry.function,
        dim3(static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y)),
        dim3(static_cast<unsigned>(entry.threads)), arguments,
        static_cast<size_t>(shape.shared_bytes), stream_);
  });
}

void CudaRuntime::Gemm(const GemmArgs& args) {
  if (args.m == 0 || failure_ != cudaSuccess || !error_.ok()) return;
  error_ = blas_->Multiply(args, workspace_, stream_);
}

std::unique_ptr<Event> CudaRuntime::Record(cudaStream_t stream) {
  auto event = std::make_unique<CudaEvent>(&events_);
  Then("recording an event", [&] { return cudaEventRecord(event->get(), stream); });
  return event;
}

// A graph would hold the wait, and with it an event of the past.
void CudaRuntime::Wait(cudaStream_t stream, const Event& event) {
  KERNELS_CHECK(!capturing_);
  cudaEvent_t awaited = static_cast<const CudaEvent&>(event).get();
  Then("waiting for an event", [&] { return cudaStreamWaitEvent(stream, awaited, 0); });
}

void CudaRuntime::BeginCapture() {
  KERNELS_CHECK(!capturing_);
  capturing_ = true;
  well_before_capture_ = failure_ == cudaSuccess && error_.ok();
  Then("recording a graph",
       [&] { return cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal); });
}

// Recording ends whatever has failed meanwhile: a stream that records is good for nothing else. A
// GPU that still answers is well, and what kept it from recording (too little memory for the graph,
// or something that cannot be recorded) need not keep it from computing.
std::unique_ptr<DeviceGraph> CudaRuntime::EndCapture() {
  KERNELS_CHECK(capturing_);
  capturing_ = false;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
  Then("recording a graph", [&] { return ended; });
  const size_t free_before = FreeBytes();
  Then("making a graph", [&] { return cudaGraphInstantiate(&executable, graph, 0); });
  Then("making a graph", [&] { return cudaGraphUpload(executable, stream_); });
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (failure_ != cudaSuccess || !error_.ok()) {
    if (executable != nullptr) cudaGraphExecDestroy(executable);
    cudaGetLastError();
    const cudaError_t answer = cudaStreamQuery(stream_);
    if (well_before_capture_ && (answer == cudaSuccess || answer == cudaErrorNotReady)) {
      failure_ = cudaSuccess;
      error_ = DeviceStatus();
    }
    return nullptr;
  }
  const size_t free_after = std::min(FreeBytes(), free_before);
  return std::make_unique<CudaGraph>(executable, free_before - free_after, stream_, &failure_);
}

// What ran before this call and failed shows here; so does the failure of a launched graph.
DeviceStatus CudaRuntime::Error() {
  if (!error_.ok()) return error_;
  if (failure_ == cudaSuccess) failure_ = cudaPeekAtLastError();
  if (failure_ == cudaErrorNotReady) failure_ = cudaSuccess;  // what an unfinished event answers
  if (failure_ != cudaSuccess) {
    error_ = DeviceStatus(Code::kDeviceLost, Describe("the GPU", failure_));
  }
  return error_;
}

}  // namespace

std::unique_ptr<GpuRuntime> MakeCudaRuntime(DeviceStatus* status) {
  auto runtime = std::make_unique<CudaRuntime>();
  *status = runtime->Start();
  if (!status->ok()) return nullptr;
  return runtime;
}

}  // namespace quire::kernels::cuda
