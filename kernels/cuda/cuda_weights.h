#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/api/device.h"
#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::cuda {

// Row-major [rows, cols] of bf16 or f16 in device memory, as cuBLASLt and Embed read it.
class CudaWeights final : public PackedWeights {
 public:
  CudaWeights(DeviceBuffer data, int64_t rows, int64_t cols, DType dtype)
      : data_(std::move(data)), rows_(rows), cols_(cols), dtype_(dtype) {}
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return data_.bytes(); }
  const std::byte* data() const { return data_.data(); }
  DType dtype() const { return dtype_; }

 private:
  DeviceBuffer data_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  DType dtype_ = DType::kBF16;
};

// Brings matrices to the device through two pinned buffers in turn: while one is copied the other
// is filled, with elements converted on the way.
class WeightUploader {
 public:
  explicit WeightUploader(GpuRuntime* runtime) : runtime_(runtime) {}
  WeightUploader(const WeightUploader&) = delete;
  WeightUploader& operator=(const WeightUploader&) = delete;
  ~WeightUploader();

  // Fills device memory at `to` with the elements of `matrix` as `dtype` (bf16 or f16). Returns
  // when the host's data is no longer needed.
  DeviceStatus Upload(const HostMatrix& matrix, DType dtype, std::byte* to);

 private:
  struct Staging {
    std::byte* data = nullptr;
    std::unique_ptr<Event> copied;
  };
  static constexpr size_t kStagingBytes = size_t{4} << 20;

  DeviceStatus Prepare();

  GpuRuntime* const runtime_;
  Staging staging_[2];
};

}  // namespace quire::kernels::cuda
