#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/api/views.h"
#include "kernels/cuda/kernel_table.h"
#include "tests/kernels/kernel_fixture.h"
#include "tests/support/simt/float_codec.h"

// What the tests of single kernels share. They run on the GPU that they are linked with: the
// emulator (emulated_gpu.cc), or a real one (tests/gpu/real_gpu.cc). Device memory is the heap:
// what a kernel's arguments point to comes from operator new and is NaN until written. A real GPU
// gets copies, of just these allocations.

namespace quire::kernels::cuda {

struct TestKernels {
  KernelTable table;
  // Kernels that the table has no place for.
  KernelEntry (*sample)(int32_t threads);  // 64 or kSampleThreads
  KernelEntry (*find)(int32_t threads);    // FindKernel: 64 or 512
};

// Of the GPU that the test is linked with.
const TestKernels& GpuUnderTest();

// Returns when the kernel has run. A check that fails, or an error of the GPU, fails the test.
// `seed`: of the order of blocks and warps, on the emulator.
void LaunchUnderTest(const KernelEntry& entry, const LaunchShape& shape, const void* args,
                     size_t arg_bytes, uint64_t seed);

template <typename Args>
void Launch(const KernelEntry& entry, const LaunchShape& shape, const Args& args, uint64_t seed) {
  LaunchUnderTest(entry, shape, &args, sizeof(args), seed);
}

inline constexpr DType kGpuActTypes[] = {DType::kBF16, DType::kF16};

// `count` elements of 0xFF bytes.
template <typename T>
std::vector<T> Poisoned(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  if (count > 0) std::memset(static_cast<void*>(values.data()), 0xff, values.size() * sizeof(T));
  return values;
}

template <typename T>
bool IsPoison(const T& value) {
  const std::vector<T> poison = Poisoned<T>(1);
  return std::memcmp(&value, poison.data(), sizeof(T)) == 0;
}

inline float HalfToFloat(uint16_t bits, DType dtype) {
  return dtype == DType::kBF16 ? Bf16ToFloat(bits) : F16ToFloat(bits);
}

inline uint16_t FloatToHalf(float x, DType dtype) {
  return dtype == DType::kBF16 ? FloatToBf16(x) : simt::FloatToF16(x);
}

inline MatrixF RoundedToHalf(MatrixF matrix, DType dtype) {
  for (float& x : matrix.data) x = HalfToFloat(FloatToHalf(x, dtype), dtype);
  return matrix;
}

inline std::vector<uint16_t> Halves(const MatrixF& matrix, DType dtype) {
  std::vector<uint16_t> halves;
  for (float x : matrix.data) halves.push_back(FloatToHalf(x, dtype));
  return halves;
}

// The first rows of `halves`.
inline MatrixF FromHalves(const std::vector<uint16_t>& halves, int64_t rows, int64_t cols,
                          DType dtype) {
  MatrixF matrix(rows, cols);
  for (size_t i = 0; i < matrix.data.size(); ++i) matrix.data[i] = HalfToFloat(halves[i], dtype);
  return matrix;
}

}  // namespace quire::kernels::cuda
