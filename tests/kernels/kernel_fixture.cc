#include "tests/kernels/kernel_fixture.h"

#include <algorithm>
#include <cmath>

#include "kernels/api/float_convert.h"

// GCC has a macro for it, clang a feature.
#if defined(__SANITIZE_THREAD__)
#define QUIRE_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QUIRE_THREAD_SANITIZER
#endif
#endif

namespace quire::kernels {
namespace {

// The bits of `value` in half precision, for values that it can hold exactly.
uint16_t ExactF16(float value) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float candidate = F16ToFloat(static_cast<uint16_t>(bits));
    if (std::memcmp(&candidate, &value, sizeof(value)) == 0) return static_cast<uint16_t>(bits);
  }
  ADD_FAILURE() << value << " is not an f16";
  return 0;
}

float RoundTo(float value, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return value;
    case DType::kBF16:
      return Bf16ToFloat(FloatToBf16(value));
    case DType::kF16:
      return std::nearbyint(value * 256) / 256;  // few bits, so that f16 holds it
    case DType::kF8E4M3:
    case DType::kInt8:
      break;  // of KV alone, which no matrix is
  }
  return value;
}

}  // namespace

std::vector<DeviceParam> AllDevices() {
#if defined(QUIRE_THREAD_SANITIZER)
  constexpr int kThreads[] = {3};  // fewer would take minutes and show nothing more
#else
  constexpr int kThreads[] = {1, 2, 3};
#endif
  std::vector<DeviceParam> devices;
  for (IsaTier tier : kIsaTiers) {
    for (int threads : kThreads) devices.push_back({tier, threads});
  }
  return devices;
}

std::string DeviceParamName(const testing::TestParamInfo<DeviceParam>& info) {
  return std::string(IsaTierName(info.param.tier)) + "_" + std::to_string(info.param.threads);
}

void KernelTest::SetUp() {
  if (!IsaTierSupported(GetParam().tier)) {
    GTEST_SKIP() << "this processor lacks " << IsaTierName(GetParam().tier);
  }
  DeviceStatus status;
  device_ = MakeCpuDevice({GetParam().threads, GetParam().tier, true}, &status);
  ASSERT_NE(device_, nullptr) << status.message();
}

std::mt19937_64 KernelTest::Random(uint64_t seed) {
  RecordProperty("seed", std::to_string(seed));
  return std::mt19937_64(seed);
}

DeviceBuffer KernelTest::NewBuffer(size_t bytes) {
  DeviceBuffer buffer;
  const DeviceStatus status = device_->Allocate(bytes, &buffer);
  EXPECT_TRUE(status.ok()) << status.message();
  return buffer;
}

DeviceBuffer KernelTest::UploadAs(const MatrixF& matrix, DType dtype) {
  return Upload(Encode(matrix, dtype));
}

MatrixF KernelTest::DownloadAs(const DeviceBuffer& buffer, int64_t rows, int64_t cols,
                               DType dtype) {
  MatrixF matrix(rows, cols);
  if (dtype == DType::kF32) {
    matrix.data = Download<float>(buffer, matrix.data.size());
    return matrix;
  }
  const auto halves = Download<uint16_t>(buffer, matrix.data.size());
  std::transform(halves.begin(), halves.end(), matrix.data.begin(), Bf16ToFloat);
  return matrix;
}

std::unique_ptr<PackedWeights> KernelTest::Pack(const MatrixF& matrix, DType stored, DType compute,
                                                WeightFormat format) {
  const std::vector<uint8_t> bytes = Encode(matrix, stored);
  const HostMatrix host{bytes.data(), stored, matrix.rows, matrix.cols};
  std::unique_ptr<PackedWeights> packed;
  const DeviceStatus status = device_->PackLinear(&host, 1, compute, format, &packed);
  EXPECT_TRUE(status.ok()) << status.message();
  return packed;
}

MatrixF KernelTest::RunLinear(const MatrixF& in, const PackedWeights& weights, DType act,
                              const std::vector<float>* bias, const MatrixF* add) {
  const auto rows = static_cast<int32_t>(in.rows);
  const DeviceBuffer rows_buffer = Upload(std::vector<int32_t>{rows});
  const DeviceBuffer in_buffer = UploadAs(in, act);
  const DeviceBuffer bias_buffer = Upload(bias != nullptr ? *bias : std::vector<float>());
  const auto out_size = static_cast<size_t>(rows * weights.rows());
  DeviceBuffer out =
      add != nullptr ? UploadAs(*add, DType::kF32) : NewBuffer(out_size * sizeof(float));
  LinearParams params;
  params.rows = rows_buffer.as<int32_t>();
  params.max_rows = rows + 5;
  params.in = in_buffer.data();
  params.act = act;
  params.weights = &weights;
  params.bias = bias != nullptr ? bias_buffer.as<float>() : nullptr;
  params.accumulate = add != nullptr;
  params.out = out.as<float>();
  ops().Linear(params);
  return DownloadAs(out, rows, weights.rows(), DType::kF32);
}

MatrixF RandomMatrix(std::mt19937_64& random, int64_t rows, int64_t cols, float scale,
                     DType dtype) {
  MatrixF matrix(rows, cols);
  std::normal_distribution<float> normal(0, scale);
  for (float& x : matrix.data) x = RoundTo(normal(random), dtype);
  return matrix;
}

MatrixF Rounded(MatrixF matrix, DType dtype) {
  for (float& x : matrix.data) x = RoundTo(x, dtype);
  return matrix;
}

std::vector<uint8_t> Encode(const MatrixF& matrix, DType dtype) {
  std::vector<uint8_t> bytes(matrix.data.size() * DTypeBytes(dtype));
  if (dtype == DType::kF32) {
    if (!bytes.empty()) std::memcpy(bytes.data(), matrix.data.data(), bytes.size());
    return bytes;
  }
  for (size_t i = 0; i < matrix.data.size(); ++i) {
    const float x = matrix.data[i];
    const uint16_t half = dtype == DType::kBF16 ? FloatToBf16(x) : ExactF16(x);
    std::memcpy(bytes.data() + 2 * i, &half, sizeof(half));
  }
  return bytes;
}

MatrixF RowsOf(const MatrixF& matrix, int64_t begin, int64_t end) {
  MatrixF rows(end - begin, matrix.cols);
  std::copy(matrix.data.begin() + begin * matrix.cols, matrix.data.begin() + end * matrix.cols,
            rows.data.begin());
  return rows;
}

testing::AssertionResult IsClose(const MatrixF& got, const MatrixD& exact, const MatrixF& naive) {
  if (got.rows != exact.rows || got.cols != exact.cols) {
    return testing::AssertionFailure() << "shapes differ";
  }
  double error = 0;
  double naive_error = 0;
  double dot = 0;
  double got_square = 0;
  double exact_square = 0;
  for (size_t i = 0; i < exact.data.size(); ++i) {
    if (!std::isfinite(got.data[i])) {
      return testing::AssertionFailure() << "element " << i << " is " << got.data[i];
    }
    error = std::max(error, std::abs(got.data[i] - exact.data[i]));
    naive_error = std::max(naive_error, std::abs(naive.data[i] - exact.data[i]));
    dot += got.data[i] * exact.data[i];
    got_square += static_cast<double>(got.data[i]) * got.data[i];
    exact_square += exact.data[i] * exact.data[i];
  }
  const double norms = std::sqrt(got_square * exact_square);
  const double distance = norms > 0 ? 1 - dot / norms : 0;
  if (error <= 2 * naive_error + 1e-5 && distance <= 5e-6) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "error " << error << ", naive " << naive_error << ", 1 - cos " << distance;
}

testing::AssertionResult SameBits(const MatrixF& a, const MatrixF& b) {
  if (a.data.size() != b.data.size()) return testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.data.size(); ++i) {
    if (std::memcmp(&a.data[i], &b.data[i], sizeof(float)) != 0) {
      return testing::AssertionFailure()
             << "element " << i << ": " << a.data[i] << " and " << b.data[i];
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace quire::kernels
