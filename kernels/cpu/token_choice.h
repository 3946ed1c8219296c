#pragma once

#include <cstdint>

#include "kernels/api/ops.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/logit_rules.h"
#include "kernels/cpu/tier/tier_kernels.h"

namespace quire::kernels {

// Turns one row of logits into a token by the rules of SamplingRow; one object a worker, for its
// working memory. The draw is the inverse of the cumulative distribution over the kept ids in id
// order.
class TokenChooser {
 public:
  // Working memory for rows of up to `vocab` logits. False when there is none.
  [[nodiscard]] bool Reserve(int64_t vocab);

  // The outcome of one row of the step; writes its alternatives too.
  SampledToken Choose(const TierKernels& kernels, const SampleParams& params, int64_t row);

 private:
  // Kept are ids with a larger weight, and those with the same weight up to `id`.
  struct Boundary {
    float weight = 0;
    int64_t id = 0;
  };
  static constexpr int kBuckets = 1024;

  bool Kept(int64_t id, const Boundary& boundary) const {
    return weights_[id] > boundary.weight || (weights_[id] == boundary.weight && id <= boundary.id);
  }
  int64_t ChooseId(const TierKernels& kernels, const float* logits, const SampleParams& params,
                   const SamplingRow& row);
  double LogSumExp(const TierKernels& kernels, const float* logits, int64_t vocab, float max);
  void ApplyFilters(int64_t vocab, const SamplingRow& row);
  void FillBuckets(int64_t vocab);
  Boundary TopK(int64_t vocab, int32_t k, double* mass);
  Boundary TopP(int64_t vocab, double target, const Boundary& kept);
  int64_t CollectBucket(int bucket, int64_t vocab, const Boundary& kept);
  int64_t Draw(int64_t vocab, double uniform) const;

  LogitRules rules_;
  HostMemory memory_;
  int64_t capacity_ = 0;
  float* weights_ = nullptr;      // [vocab] probability relative to the best id's
  int32_t* members_ = nullptr;    // [vocab] ids of one bucket
  double* block_sums_ = nullptr;  // [blocks]
  // Ids by the leading bits of their weight: how many and how much.
  int64_t bucket_count_[kBuckets];
  double bucket_mass_[kBuckets];
};

}  // namespace quire::kernels
