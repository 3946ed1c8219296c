#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "tests/kernels/batch_fixture.h"

namespace quire::kernels {

// What Q and the results are of, and whether K and V are in 8 bits instead.
struct KvType {
  // NOLINTNEXTLINE(google-explicit-constructor): most tests are of KV in the type of Q
  KvType(DType act_type, bool kv_in_int8 = false) : act(act_type), int8(kv_in_int8) {}
  DType act;
  bool int8;
  DType kv() const { return int8 ? DType::kInt8 : act; }
};
inline const KvType kKvTypes[] = {
    DType::kF32, DType::kBF16, {DType::kF32, true}, {DType::kBF16, true}};
std::ostream& operator<<(std::ostream& out, const KvType& type);

// What K or V are once stored in 8 bits: rows of [kv_groups, head_dim].
MatrixF AsInt8(MatrixF rows, int32_t head_dim);

struct KvShape {
  int32_t heads = 1;
  int32_t groups = 1;
  int32_t head_dim = 16;
  int32_t block_tokens = 16;
  KvType type = DType::kBF16;
  int32_t window = 0;
  float softcap = 0;

  int64_t q_width() const { return static_cast<int64_t>(heads) * head_dim; }
  int64_t kv_width() const { return static_cast<int64_t>(groups) * head_dim; }
  int32_t BlocksFor(int32_t tokens) const { return (tokens + block_tokens - 1) / block_tokens; }
};

// Paged KV of one layer, all of it NaN until written. The layer does not start its block, and the
// blocks of a sequence lie in random order.
class KvFixture : public BatchFixture {
 protected:
  struct Arena {
    DeviceBuffer memory;
    KvLayerView view;
    std::vector<uint32_t> free_blocks;

    std::vector<uint32_t> Take(int32_t blocks);
  };
  Arena MakeArena(const KvShape& shape, int32_t blocks, std::mt19937_64& random);

  // Weights of a norm of every head of Q and of K; none when empty.
  struct HeadNorms {
    std::vector<float> q;
    std::vector<float> k;
  };
  static constexpr float kHeadNormEps = 1e-6f;

  // qkv: [T, (H + 2G) * D]; cos_sin: [positions, rotary_dim], at most D wide and perhaps empty.
  // Returns the rotated Q; K and V go into the arena.
  MatrixF RunRope(const KvShape& shape, const Arena& arena, const std::vector<SequencePart>& parts,
                  const MatrixF& qkv, const MatrixF& cos_sin, const HeadNorms& norms = {});
  MatrixF RunAttention(const KvShape& shape, const Arena& arena,
                       const std::vector<SequencePart>& parts, const MatrixF& q);
};

// [positions, rotary_dim] as RopeWriteKvParams wants it; theta 0 makes every rotation the identity.
MatrixF CosSinTable(int32_t positions, int32_t rotary_dim, double theta);
MatrixF Columns(const MatrixF& matrix, int64_t begin, int64_t end);
// Matrices of equal height side by side, or of equal width one below the other.
MatrixF Beside(const std::vector<MatrixF>& matrices);
MatrixF Below(const std::vector<MatrixF>& matrices);

}  // namespace quire::kernels
