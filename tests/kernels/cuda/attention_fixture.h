#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_plan.h"
#include "tests/kernels/cuda/test_gpu.h"

namespace quire::kernels::cuda {

struct AttentionSetup {
  int32_t heads = 4;
  int32_t groups = 2;
  int32_t head_dim = 64;
  int32_t block_tokens = 16;
  DType act = DType::kBF16;
  bool fp8 = false;
  int32_t window = 0;
  float softcap = 0;
  int32_t split = 0;
  int32_t resident_blocks = 1;

  int64_t q_width() const { return static_cast<int64_t>(heads) * head_dim; }
  int64_t kv_width() const { return static_cast<int64_t>(groups) * head_dim; }
};

// All tokens of a sequence; K and V are the numbers that the kernel sees.
struct AttentionSequence {
  MatrixF q;
  MatrixF k;
  MatrixF v;
};

// A sequence's part in a step: the tokens [begin, end) ask, in a batch whose KV ends with them.
struct AttentionPart {
  const AttentionSequence* sequence = nullptr;
  int32_t begin = 0;
  int32_t end = 0;
};

AttentionSequence RandomSequence(const AttentionSetup& setup, int32_t length,
                                 std::mt19937_64& random);

// Runs the plan and the kernels on the emulator. Whatever no query of a sequence sees is NaN, and
// the table entries of blocks that none sees lead nowhere.
class AttentionStep {
 public:
  AttentionStep(const AttentionSetup& setup, std::vector<AttentionPart> parts,
                std::mt19937_64& random);

  // The output rows of all parts, in order.
  MatrixF Run(uint64_t seed);
  const AttentionPlan& plan() const { return plan_; }

 private:
  struct FreeAligned {
    void operator()(std::byte* memory) const;
  };

  size_t TileBytes() const;
  size_t BlockUnits() const;
  void MakeArena(std::mt19937_64& random);
  void WriteSequence(const AttentionPart& part, std::vector<uint32_t>* free_blocks);
  void WriteToken(const AttentionPart& part, int32_t token, uint32_t block);
  void StoreRow(const float* values, std::byte* to, float* scale) const;
  AttentionArgs Args();

  AttentionSetup setup_;
  std::vector<AttentionPart> parts_;
  AttentionPlan plan_;
  std::vector<AttentionHeader> header_;  // one
  BatchCapacity capacity_;
  std::unique_ptr<std::byte, FreeAligned> arena_;
  std::vector<int32_t> q_start_ = {0};
  std::vector<int32_t> kv_len_;
  std::vector<int32_t> table_start_ = {0};
  std::vector<uint32_t> table_;
  std::vector<uint16_t> q_;
  std::vector<uint16_t> out_;
  std::vector<float> partial_out_;
  std::vector<float> partial_lse_;
  std::vector<std::byte> lists_;
};

// What the textbook gives for the parts: exact, and naive in the same types.
MatrixD ExactAttention(const AttentionSetup& setup, const std::vector<AttentionPart>& parts);
MatrixF NaiveAttention(const AttentionSetup& setup, const std::vector<AttentionPart>& parts);

}  // namespace quire::kernels::cuda
