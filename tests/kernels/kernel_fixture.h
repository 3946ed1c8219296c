#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/reference/reference.h"

// What all kernel tests share: a device of every tier and thread count, random matrices in the
// element types, and the tolerance rule.

namespace quire::kernels {

using MatrixF = reference::Matrix<float>;
using MatrixD = reference::Matrix<double>;

struct DeviceParam {
  IsaTier tier;
  int threads;
};
std::vector<DeviceParam> AllDevices();
std::string DeviceParamName(const testing::TestParamInfo<DeviceParam>& info);

// Fresh device memory is poisoned: whatever is read without having been written is NaN.
class KernelTest : public testing::TestWithParam<DeviceParam> {
 protected:
  void SetUp() override;

  // The seed is in the test's output when it fails.
  std::mt19937_64 Random(uint64_t seed);

  template <typename T>
  DeviceBuffer Upload(const std::vector<T>& values) {
    DeviceBuffer buffer = NewBuffer(values.size() * sizeof(T));
    device_->CopyToDevice(buffer.data(), values.data(), values.size() * sizeof(T));
    return buffer;
  }
  template <typename T>
  std::vector<T> Download(const DeviceBuffer& buffer, size_t count) {
    std::vector<T> values(count);
    device_->CopyToHost(values.data(), buffer.data(), count * sizeof(T));
    return values;
  }
  DeviceBuffer NewBuffer(size_t bytes);

  DeviceBuffer UploadAs(const MatrixF& matrix, DType dtype);
  MatrixF DownloadAs(const DeviceBuffer& buffer, int64_t rows, int64_t cols, DType dtype);
  std::unique_ptr<PackedWeights> Pack(const MatrixF& matrix, DType stored, DType compute,
                                      WeightFormat format = WeightFormat::kDense);

  // in * weights^T (+ bias) (+ add)
  MatrixF RunLinear(const MatrixF& in, const PackedWeights& weights, DType act,
                    const std::vector<float>* bias = nullptr, const MatrixF* add = nullptr);

  Ops& ops() { return device_->ops(); }
  std::unique_ptr<Device> device_;
};

// Elements about N(0, scale^2), rounded to `dtype`.
MatrixF RandomMatrix(std::mt19937_64& random, int64_t rows, int64_t cols, float scale, DType dtype);
MatrixF Rounded(MatrixF matrix, DType dtype);
// The bytes of a matrix stored as `dtype`.
std::vector<uint8_t> Encode(const MatrixF& matrix, DType dtype);
template <typename To, typename From>
reference::Matrix<To> Cast(const reference::Matrix<From>& from) {
  reference::Matrix<To> to(from.rows, from.cols);
  for (size_t i = 0; i < from.data.size(); ++i) to.data[i] = static_cast<To>(from.data[i]);
  return to;
}
MatrixF RowsOf(const MatrixF& matrix, int64_t begin, int64_t end);

// The largest error is at most twice that of the naive implementation in the same types + 1e-5, and
// 1 - cos at most 5e-6. NaN fails.
testing::AssertionResult IsClose(const MatrixF& got, const MatrixD& exact, const MatrixF& naive);
testing::AssertionResult SameBits(const MatrixF& a, const MatrixF& b);

inline constexpr DType kActTypes[] = {DType::kF32, DType::kBF16};

}  // namespace quire::kernels
