#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/gpu/bench/bench.h"
#include "tests/gpu/bench/gpu.h"
#include "tests/gpu/probe.h"

namespace quire::bench {
namespace {

struct Options {
  std::string json;
  std::string only;  // copy and GEMM are always measured
  double limit_seconds = 480;
  bool probe = false;
};

int Usage() {
  std::fprintf(stderr,
               "usage: gpu_bench [--json FILE] [--limit-seconds N] "
               "[--only launches|decode|prefill|steps] [--probe]\n"
               "  --limit-seconds N  begin no measurement later than this (480)\n"
               "  --probe            only say which GPU there is, or why none is\n");
  return 2;
}

bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--probe") {
      options->probe = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const char* const value = argv[++i];
    if (name == "--json") {
      options->json = value;
    } else if (name == "--only") {
      options->only = value;
    } else if (name == "--limit-seconds") {
      options->limit_seconds = std::atof(value);
    } else {
      return false;
    }
  }
  return true;
}

std::string GpuName() {
  cudaDeviceProp device;
  Must(cudaGetDeviceProperties(&device, 0), "asking the GPU what it is");
  return std::string(device.name) + ", " + std::to_string(device.multiProcessorCount) +
         " multiprocessors, " + std::to_string(device.l2CacheSize >> 20) + " MiB of L2, " +
         std::to_string(device.totalGlobalMem >> 30) + " GiB";
}

void Run(const Options& options) {
  Report report(options.json, options.limit_seconds);
  Bench bench{.report = &report};
  Must(cudaStreamCreateWithFlags(&bench.stream, cudaStreamNonBlocking), "making a stream");
  report.Fact("GPU", GpuName());
  const auto wanted = [&](const char* part) {
    return options.only.empty() || options.only == part;
  };
  MeasureCopy(&bench);
  MeasureGemm(&bench);
  // What says most comes first, in case time runs out.
  if (wanted("launches")) MeasureLaunches(&bench);
  if (wanted("steps")) MeasureSteps(&bench);
  if (wanted("decode")) MeasureDecodeAttention(&bench);
  if (wanted("prefill")) MeasurePrefillAttention(&bench);
  report.Save();
  report.Print();
  cudaStreamDestroy(bench.stream);
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) return Usage();
  const std::string missing = gpu::WhyNoGpu();
  if (!missing.empty()) {
    std::printf("%s\n", missing.c_str());
    return gpu::kSkipped;
  }
  if (options.probe) {
    std::printf("%s\n", GpuName().c_str());
  } else {
    Run(options);
  }
  return 0;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) { return quire::bench::Main(argc, argv); }
