#include "tests/gpu/bench/gpu.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace quire::bench {
namespace {

constexpr int kWarmUps = 2;
constexpr double kSampleMicros = 100'000;  // of replays in all, within these numbers of them:
constexpr int kMinSamples = 7;
constexpr int kMaxSamples = 51;

cudaGraphExec_t Record(cudaStream_t stream, int calls, const std::function<void(int)>& enqueue) {
  Must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
  for (int i = 0; i < calls; ++i) enqueue(i);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  Must(cudaStreamEndCapture(stream, &graph), "recording a graph");
  Must(cudaGraphInstantiate(&executable, graph, 0), "making a graph");
  cudaGraphDestroy(graph);
  return executable;
}

}  // namespace

void Must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "gpu_bench: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

GpuMemory::GpuMemory(size_t bytes) {
  Must(cudaMalloc(&data_, std::max(bytes, size_t{1})), "memory of the GPU");
}

size_t FreeGpuBytes() {
  size_t free = 0, total = 0;
  Must(cudaMemGetInfo(&free, &total), "asking for free memory");
  return free;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double GraphMicros(cudaStream_t stream, int calls, const std::function<void(int)>& enqueue) {
  enqueue(0);  // libraries choose their algorithms before anything is recorded
  Must(cudaStreamSynchronize(stream), "the first call");
  const cudaGraphExec_t graph = Record(stream, calls, enqueue);
  cudaEvent_t begin = nullptr, end = nullptr;
  Must(cudaEventCreate(&begin), "making an event");
  Must(cudaEventCreate(&end), "making an event");
  std::vector<double> micros;
  double total = 0;
  for (int i = -kWarmUps; i < kMaxSamples; ++i) {
    Must(cudaEventRecord(begin, stream), "recording an event");
    Must(cudaGraphLaunch(graph, stream), "replaying a graph");
    Must(cudaEventRecord(end, stream), "recording an event");
    Must(cudaEventSynchronize(end), "running a graph");
    float millis = 0;
    Must(cudaEventElapsedTime(&millis, begin, end), "reading events");
    if (i < 0) continue;
    micros.push_back(1e3 * millis);
    total += micros.back();
    if (i + 1 >= kMinSamples && total > kSampleMicros) break;
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(graph);
  return Median(micros) / calls;
}

}  // namespace quire::bench
