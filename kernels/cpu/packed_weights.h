#pragma once

#include <cstdint>

#include "kernels/api/device.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/tier/tier_kernels.h"

namespace quire::kernels {

// Weights as the linear kernels read them. Rows are outputs: a panel is 32 of them, side by side.
// Rows and elements that pad the last panel, word and group are zero.
//   dense  [panels][words][32] 32-bit words, where word k of a row holds element k (f32) or
//   elements
//          2k and 2k + 1 (bf16)
//   int8   the same, a word being the bytes of elements 4k to 4k + 3; times the row's scale
//   int4   [panels][words][16], as in QuantLinearTask. 32 elements of a row share a byte m + 16 s
//          (m from 1 to 15, s 0 or 1): an element is (q - 8 + s) * m times the row's scale. So the
//          end with one value more lies where the group's largest element is, and what the kernels
//          multiply is an integer of 8 bits.
class CpuPackedWeights final : public PackedWeights {
 public:
  // Null and *status set when an argument is wrong or there is no memory. Contents are not set.
  static std::unique_ptr<CpuPackedWeights> Create(int64_t rows, int64_t cols, DType dtype,
                                                  WeightFormat format, DeviceStatus* status);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override {
    return memory_.bytes() + group_scales_.bytes() + offsets_.bytes() + row_scales_.bytes();
  }
  DType dtype() const { return dtype_; }  // of the activations
  WeightFormat format() const { return format_; }
  int64_t words() const { return words_; }
  int64_t panels() const { return panels_; }
  int64_t segments() const { return (words_ + kQuantSegmentWords - 1) / kQuantSegmentWords; }
  const uint32_t* data() const { return memory_.as<uint32_t>(); }
  uint32_t* panel(int64_t index) const { return memory_.as<uint32_t>() + index * PanelWords(); }

  // Integer formats alone.
  uint8_t* group_scales(int64_t panel) const;  // [words / 8][32]; null with 8 bits
  int32_t* offsets(int64_t panel) const;       // [segments][32]
  float* row_scales(int64_t panel) const { return row_scales_.as<float>() + panel * kPanelColumns; }

  // A row as it is multiplied.
  void ReadRow(int64_t row, float* out) const;

 private:
  CpuPackedWeights() = default;
  int64_t PanelWords() const {
    return words_ * (format_ == WeightFormat::kInt4 ? kPanelColumns / 2 : kPanelColumns);
  }
  DeviceStatus Reserve();

  int64_t rows_ = 0;
  int64_t cols_ = 0;
  DType dtype_ = DType::kF32;
  WeightFormat format_ = WeightFormat::kDense;
  int64_t words_ = 0;
  int64_t panels_ = 0;
  HostMemory memory_;
  HostMemory group_scales_;
  HostMemory offsets_;
  HostMemory row_scales_;
};

class ThreadPool;

// Fills `weights` with the rows of `parts`, one part after the other; the shapes add up.
void PackParts(const HostMatrix* parts, int num_parts, ThreadPool* pool, CpuPackedWeights* weights);

// The same for the integer formats.
void QuantizeParts(const HostMatrix* parts, int num_parts, ThreadPool* pool,
                   CpuPackedWeights* weights);

}  // namespace quire::kernels
