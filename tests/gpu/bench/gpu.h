#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <vector>

// The benchmarks' use of the GPU. An error of CUDA ends the program with what it was.

namespace quire::bench {

void Must(cudaError_t error, const char* what);

// Device memory, aligned to 256 bytes.
class GpuMemory {
 public:
  explicit GpuMemory(size_t bytes);
  // A copy of the host's values.
  template <typename T>
  explicit GpuMemory(const std::vector<T>& values) : GpuMemory(values.size() * sizeof(T)) {
    Must(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
         "a copy to the GPU");
  }
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;
  ~GpuMemory() { cudaFree(data_); }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::byte* data() const { return as<std::byte>(); }

 private:
  void* data_ = nullptr;
};

size_t FreeGpuBytes();

// Microseconds of one call of `enqueue`, which enqueues work on the stream: `calls` of them, made
// with 0, 1, ..., are recorded in a graph, and the median of its replays is divided by their
// number.
double GraphMicros(cudaStream_t stream, int calls, const std::function<void(int)>& enqueue);

double Median(std::vector<double> values);

}  // namespace quire::bench
