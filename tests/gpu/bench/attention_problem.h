#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_plan.h"
#include "tests/gpu/bench/gpu.h"

namespace quire::bench {

// Every sequence has `context` tokens, the last `queries` of which ask.
struct AttentionCase {
  int32_t batch = 1;
  int32_t context = 1024;
  int32_t queries = 1;
  int32_t heads = 32;
  int32_t groups = 8;
  int32_t head_dim = 128;
  bool fp8_kv = false;

  double KvBytes() const {  // of a layer, scales included
    return 2.0 * batch * context * groups * (fp8_kv ? head_dim + 4 : 2 * head_dim);
  }
  double Flops() const;
};

// BF16 attention over random Q and random K and V, of BF16 or FP8, in scattered blocks, of as many
// layers as it takes to leave nothing in the cache from one to the next. A block holds all of them,
// as a model's do.
class AttentionProblem {
 public:
  static bool Fits(const AttentionCase& shape);
  // `stream` runs everything.
  AttentionProblem(const AttentionCase& shape, cudaStream_t stream);

  int32_t layers() const { return layers_; }
  void Enqueue(int32_t layer) const;

  // Runs the first layer and compares the last head of the last query with float64: the norm of
  // the difference over that of the result.
  double Error() const;

 private:
  static constexpr int32_t kBlockTokens = 16;
  kernels::KvLayerView Layer() const;
  size_t LayerBytes() const;  // aligned
  size_t BlockBytes() const { return static_cast<size_t>(layers_) * LayerBytes(); }
  int32_t BlocksEach() const { return (shape_.context + kBlockTokens - 1) / kBlockTokens; }

  void MakePlan();
  void MakeArgs();
  // Of the first layer's last group: element i of a token's K, or of its V.
  double KvElement(int32_t token, bool is_v, size_t i) const;
  std::vector<double> ExactRow() const;

  const AttentionCase shape_;
  const cudaStream_t stream_;
  int32_t layers_ = 1;
  std::vector<int32_t> q_start_, kv_len_, table_start_;
  std::vector<uint32_t> table_;
  std::vector<std::unique_ptr<GpuMemory>> memory_;  // what the arguments point to
  kernels::cuda::AttentionHeader header_ = {};
  kernels::cuda::AttentionArgs args_ = {};
};

}  // namespace quire::bench
