#pragma once

#include <cuda_runtime_api.h>

#include "tests/gpu/bench/report.h"

namespace quire::bench {

// What all benchmarks share, and the limits measured in this run that they are held against.
struct Bench {
  Report* report = nullptr;
  cudaStream_t stream = nullptr;
  double copy_bytes_per_second = 0;  // read and written, of a large copy on the device
  double gemm_flops = 0;             // a second, of a large BF16 product
};

void MeasureCopy(Bench* bench);  // first
void MeasureGemm(Bench* bench);  // the large product, then the decode steps' thin ones
void MeasureLaunches(Bench* bench);
void MeasureDecodeAttention(Bench* bench);
void MeasurePrefillAttention(Bench* bench);
void MeasureSteps(Bench* bench);  // whole decode steps, then the dial of KV groups

}  // namespace quire::bench
