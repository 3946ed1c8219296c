#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

// Plain types that every part of the kernel interface shares. Standard library only.

namespace quire::kernels {

// The types of one byte, fp8 of the e4m3 kind (Micikevicius et al., 2022) and integers from -127 to
// 127, are of keys and values alone.
enum class DType : uint8_t { kF32, kF16, kBF16, kF8E4M3, kInt8 };

constexpr size_t DTypeBytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kF8E4M3:
    case DType::kInt8:
      return 1;
  }
  return 0;
}

constexpr const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kF8E4M3:
      return "fp8_e4m3";
    case DType::kInt8:
      return "int8";
  }
  return "?";
}

// How a device keeps the elements of a linear layer's weights. The integer formats are made of the
// checkpoint's numbers while they load; activations are then taken in integers of 8 bits as well,
// with a scale for each row and segment of it. Sums stay exact within a segment.
enum class WeightFormat : uint8_t {
  kDense,  // in the type they are computed in
  kInt8,   // a scale for each output
  kInt4,   // a scale for each 32 elements of an output
};

constexpr const char* WeightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kDense:
      return "dense";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt4:
      return "int4";
  }
  return "?";
}

// What a feed-forward block applies to its gate: x * sigmoid(x), or GELU in its tanh form
// (Hendrycks and Gimpel, 2016).
enum class GateKind : uint8_t { kSilu, kGeluTanh };

// Outcome of a device call that can fail. Default-constructed means success.
class [[nodiscard]] DeviceStatus {
 public:
  enum class Code : uint8_t { kOk, kOutOfMemory, kInvalidArgument, kDeviceLost };

  DeviceStatus() = default;
  DeviceStatus(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// A matrix in host memory as a checkpoint stores it: row-major, rows x cols, any alignment.
struct HostMatrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
};

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace quire::kernels

// An invariant of kernel code or of its caller; never outside input.
#define KERNELS_CHECK(condition)      \
  ((condition) ? static_cast<void>(0) \
               : ::quire::kernels::CheckFailed(__FILE__, __LINE__, #condition))
