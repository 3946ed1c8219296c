#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/kernel_table.h"
#include "tests/gpu/bench/bench.h"
#include "tests/gpu/bench/gpu.h"
#include "tests/gpu/bench/random_values.h"

// What the GPU and its libraries give: the limits, and the parts of a step that are not ours.

namespace quire::bench {
namespace {

using kernels::BatchCounts;
using kernels::DeviceStatus;
using kernels::cuda::CublasLt;
using kernels::cuda::GemmArgs;

constexpr size_t kRotation = size_t{512} << 20;  // read before anything is read again: beyond L2

class Gemm {
 public:
  explicit Gemm(cudaStream_t stream) : stream_(stream), workspace_(CublasLt::kWorkspaceBytes) {
    DeviceStatus status;
    blas_ = CublasLt::Load(&status);
    Check(status);
  }
  void Enqueue(const GemmArgs& args) { Check(blas_->Multiply(args, workspace_.data(), stream_)); }
  // Of [m, k] by [n, k], with so many weights that none are found in the cache.
  double Micros(int64_t m, int64_t n, int64_t k) {
    const auto elements = static_cast<size_t>(n * k);
    const size_t copies = std::clamp(kRotation / (2 * elements), size_t{1}, size_t{64});
    const GpuMemory weights(2 * elements * copies), in(2 * static_cast<size_t>(m * k)),
        out(4 * static_cast<size_t>(m * n));
    FillRandom(weights.data(), elements * copies, 1, stream_);
    FillRandom(in.data(), static_cast<size_t>(m * k), 2, stream_);
    return GraphMicros(stream_, static_cast<int>(copies), [&](int call) {
      Enqueue({.in = in.data(),
               .weights = weights.data() + 2 * elements * static_cast<size_t>(call),
               .out = out.as<float>(),
               .m = m,
               .n = n,
               .k = k});
    });
  }

 private:
  static void Check(const DeviceStatus& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "gpu_bench: %s\n", status.message().c_str());
    std::exit(1);
  }

  const cudaStream_t stream_;
  const GpuMemory workspace_;
  std::unique_ptr<CublasLt> blas_;
};

struct Matrix {
  const char* name;
  int64_t n, k;
};
// Those of a llama-3.1-8b layer, and its head.
constexpr Matrix kMatrices[] = {{"qkv", 6144, 4096},
                                {"o", 4096, 4096},
                                {"gate_up", 28672, 4096},
                                {"down", 4096, 14336},
                                {"head", 128256, 4096}};

}  // namespace

void MeasureCopy(Bench* bench) {
  const size_t bytes = std::min(size_t{2} << 30, FreeGpuBytes() / 4) / 256 * 256;
  const GpuMemory from(bytes), to(bytes);
  FillRandom(from.data(), bytes / 2, 1, bench->stream);
  const double micros = GraphMicros(bench->stream, 1, [&](int) {
    Must(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, bench->stream),
         "a copy");
  });
  bench->copy_bytes_per_second = 2e6 * static_cast<double>(bytes) / micros;
  bench->report->Fact("copy, GB/s read and written", Cell(bench->copy_bytes_per_second / 1e9, 0));
}

void MeasureGemm(Bench* bench) {
  Gemm gemm(bench->stream);
  constexpr double kSide = 8192;
  const double micros = gemm.Micros(8192, 8192, 8192);
  bench->gemm_flops = 2 * kSide * kSide * kSide / micros * 1e6;
  bench->report->Fact("BF16 GEMM of 8192 x 8192 x 8192, TFLOP/s",
                      Cell(bench->gemm_flops / 1e12, 0));

  bench->report->BeginTable("GEMM of a decode step (cuBLASLt, BF16 to f32): weights over copy",
                            {"matrix", "rows", "us", "GB/s", "of copy"});
  for (const Matrix& matrix : kMatrices) {
    for (int rows : {1, 8, 32, 64, 128, 256}) {
      if (!bench->report->HasTime()) continue;
      const double us = gemm.Micros(rows, matrix.n, matrix.k);
      const double rate = 2e6 * static_cast<double>(matrix.n * matrix.k) / us;
      bench->report->Row({matrix.name, rows, Cell(us, 1), Cell(rate / 1e9, 0),
                          Cell(rate / bench->copy_bytes_per_second, 3)});
    }
  }
}

void MeasureLaunches(Bench* bench) {
  constexpr int kWidth = 4096, kCalls = 300;
  const GpuMemory counts(std::vector<BatchCounts>{{1, 1, 1}});
  const GpuMemory x(std::vector<float>(kWidth, 1)), residual(std::vector<float>(kWidth, 1));
  const kernels::cuda::KernelEntry entry = kernels::cuda::GpuKernels().add_rms_norm();
  kernels::cuda::AddRmsNormArgs args = {.counts = counts.as<BatchCounts>(),
                                        .x = x.as<float>(),
                                        .weight = x.as<float>(),
                                        .eps = 1e-5f,
                                        .width = kWidth,
                                        .residual = residual.as<float>()};
  const auto launch = [&](int) {
    void* arguments[] = {&args};
    Must(cudaLaunchKernel(entry.function, dim3(1), dim3(static_cast<unsigned>(entry.threads)),
                          arguments, kernels::cuda::kRmsNormSharedBytes, bench->stream),
         "a launch");
  };
  const double in_graph = GraphMicros(bench->stream, kCalls, launch);
  std::vector<double> calls, runs;
  for (int sample = 0; sample < 15; ++sample) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < kCalls; ++i) launch(i);
    const Clock::time_point called = Clock::now();
    Must(cudaStreamSynchronize(bench->stream), "launches");
    using Micros = std::chrono::duration<double, std::micro>;
    calls.push_back(Micros(called - begin).count() / kCalls);
    runs.push_back(Micros(Clock::now() - begin).count() / kCalls);
  }
  bench->report->BeginTable("A small kernel (a norm of one row), of 300 in a row",
                            {"how", "us each"});
  bench->report->Row({"in a graph", Cell(in_graph, 2)});
  bench->report->Row({"one by one", Cell(Median(runs), 2)});
  bench->report->Row({"one by one, the host's part", Cell(Median(calls), 2)});
}

}  // namespace quire::bench
