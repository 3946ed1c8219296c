#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/tier_kernels.h"

// Reductions over one row of logits.

namespace quire::kernels {
namespace {

template <class V>
LogitsRange RangeOfLogits(const float* x, int64_t n) {
  const float lowest = -__builtin_inff();
  typename V::F32 max = V::Set1(lowest);
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int valid = static_cast<int>(Smaller<int64_t>(n - i, V::kLanes));
    const typename V::F32 v = V::FirstN(V::LoadN(x + i, valid), valid, V::Set1(lowest));
    max = V::Max(v, max);
    if (V::AnyNan(v)) return {lowest, true};
  }
  return {V::ReduceMax(max), false};
}

template <class V>
int64_t FirstEqual(const float* x, int64_t n, float value) {
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int valid = static_cast<int>(Smaller<int64_t>(n - i, V::kLanes));
    const int lane = V::FindEqual(V::LoadN(x + i, valid), V::Set1(value));
    if (lane < valid) return i + lane;
  }
  return n;
}

template <class V>
void ExpWeights(const float* x, int64_t n, float max, float scale_log2, float* weights,
                double* block_sums) {
  for (int64_t begin = 0; begin < n; begin += kVocabBlock) {
    const int64_t end = Smaller(begin + kVocabBlock, n);
    typename V::F32 sum = V::Zero();
    for (int64_t i = begin; i < end; i += V::kLanes) {
      const int valid = static_cast<int>(Smaller<int64_t>(end - i, V::kLanes));
      const typename V::F32 distance = V::Sub(V::LoadN(x + i, valid), V::Set1(max));
      const typename V::F32 e = Exp2<V>(V::Mul(distance, V::Set1(scale_log2)));
      const typename V::F32 weight = V::FirstN(e, valid, V::Zero());
      if (weights != nullptr) V::StoreN(weights + i, weight, valid);
      sum = V::Add(sum, weight);
    }
    block_sums[begin / kVocabBlock] = V::ReduceAdd(sum);
  }
}

}  // namespace
}  // namespace quire::kernels
