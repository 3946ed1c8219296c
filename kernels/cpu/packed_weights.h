#pragma once

#include <cstdint>

#include "kernels/api/device.h"
#include "kernels/cpu/host_memory.h"

namespace quire::kernels {

// Weights as the linear kernels read them: [ceil(rows / 32)][words][32] 32-bit words, where word k
// of a row holds element k (f32) or elements 2k and 2k + 1 (bf16). Rows and elements that pad the
// last panel and word are zero. Rows are outputs: a panel is 32 of them, side by side.
class CpuPackedWeights final : public PackedWeights {
 public:
  // Null and *status set when an argument is wrong or there is no memory. Contents are not set.
  static std::unique_ptr<CpuPackedWeights> Create(int64_t rows, int64_t cols, DType dtype,
                                                  DeviceStatus* status);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return memory_.bytes(); }
  DType dtype() const { return dtype_; }
  int64_t words() const { return words_; }
  int64_t panels() const { return panels_; }
  const uint32_t* data() const { return memory_.as<uint32_t>(); }
  uint32_t* panel(int64_t index) const;

 private:
  CpuPackedWeights() = default;

  int64_t rows_ = 0;
  int64_t cols_ = 0;
  DType dtype_ = DType::kF32;
  int64_t words_ = 0;
  int64_t panels_ = 0;
  HostMemory memory_;
};

class ThreadPool;

// Fills `weights` with the rows of `parts`, one part after the other; the shapes add up.
void PackParts(const HostMatrix* parts, int num_parts, ThreadPool* pool, CpuPackedWeights* weights);

}  // namespace quire::kernels
