#pragma once

#include "kernels/cpu/tier/attention.h"

// Of AttentionKernel: what splits come to, where pieces of a tile leave that, and how all of them
// are merged, in order, each of the group at hand; and where a chunk lies.

namespace quire::kernels {
namespace {

template <class E, class Kv, int kMaxRows, int kVecs>
float* AttentionKernel<E, Kv, kMaxRows, kVecs>::Partial(int32_t split) const {
  const int64_t tile = static_cast<int64_t>(split) * t_.groups + group_;
  return t_.partials + tile * t_.rows * (dim_ + 2);
}
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::StorePartial(Range rows, int32_t split) const {
  float* partial = Partial(split);
  for (int32_t r = rows.begin; r < rows.end; ++r) {
    float* to = partial + r * (dim_ + 2);
    __builtin_memcpy(to, out_ + r * dim_, static_cast<size_t>(dim_) * sizeof(float));
    to[dim_] = V::ReduceAdd(V::Load(sum_ + r * V::kLanes));
    to[dim_ + 1] = max_[r];
  }
}
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::LoadPartial(Range rows, int32_t split) {
  const float* partial = Partial(split);
  for (int32_t r = rows.begin; r < rows.end; ++r) {
    const float* from = partial + r * (dim_ + 2);
    __builtin_memcpy(out_ + r * dim_, from, static_cast<size_t>(dim_) * sizeof(float));
    V::Store(sum_ + r * V::kLanes, V::FirstN(V::Set1(from[dim_]), 1, V::Zero()));
    max_[r] = from[dim_ + 1];
  }
}

template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::Restart(Range rows) {
  for (int32_t r = rows.begin; r < rows.end; ++r) {
    max_[r] = -__builtin_inff();
    V::Store(sum_ + r * V::kLanes, V::Zero());
    for (int32_t d = 0; d < dim_; d += V::kLanes) V::Store(out_ + r * dim_ + d, V::Zero());
  }
}

template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::Merge(Range rows, int32_t split) {
  for (int32_t r = rows.begin; r < rows.end; ++r) {
    const bool first_split = first_[r] >= split;
    const float sum = V::ReduceAdd(V::Load(sum_ + r * V::kLanes));
    const float old_max = first_split ? -__builtin_inff() : merged_max_[r];
    const float new_max = Larger(old_max, max_[r]);
    const F32 old_scale = Exp2<V>(V::Set1(old_max - new_max));
    const F32 scale = Exp2<V>(V::Set1(max_[r] - new_max));
    for (int32_t d = 0; d < dim_; d += V::kLanes) {
      float* merged = merged_ + r * dim_ + d;
      const F32 x = V::Mul(V::Load(out_ + r * dim_ + d), scale);
      V::Store(merged, first_split ? x : V::MulAdd(V::Load(merged), old_scale, x));
    }
    const float old_sum = first_split ? 0.0f : merged_sum_[r] * V::Lane0(old_scale);
    merged_sum_[r] = old_sum + sum * V::Lane0(scale);
    merged_max_[r] = new_max;
  }
}

template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::StoreOut(int32_t r) {
  const F32 inverse = V::Set1(1.0f / merged_sum_[r]);
  auto* out = reinterpret_cast<typename E::Storage*>(t_.out) + RowOffset(r);
  for (int32_t d = 0; d < dim_; d += V::kLanes) {
    E::StoreN(out + d, V::Mul(V::Load(merged_ + r * dim_ + d), inverse), V::kLanes);
  }
}

// Where the chunk at `kv` lies; spans at or behind kv_end are left as they are. Those before all
// windows may lead anywhere, but nothing is read through them.
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::FindSpans(int32_t kv, int32_t kv_end,
                                                        Span* spans) const {
  for (int32_t i = 0; i < kSpans && kv + i * kSpan < kv_end; ++i) {
    const int32_t token = kv + i * kSpan;
    const size_t block = t_.blocks[token / t_.block_tokens] * t_.offset_unit;
    const int32_t slot = token % t_.block_tokens;
    using Word = typename Kv::Word;
    spans[i].k = reinterpret_cast<const Word*>(t_.k + block) + slot;
    spans[i].v = reinterpret_cast<const Word*>(t_.v + block) + slot / Kv::kPerWord * dim_;
    if constexpr (Kv::kScaled) {
      spans[i].k_scales = reinterpret_cast<const float*>(t_.k_scales + block) + slot;
      spans[i].v_scales = reinterpret_cast<const float*>(t_.v_scales + block) + slot;
    }
  }
}

// A span of the task's first group, in another.
template <class E, class Kv, int kMaxRows, int kVecs>
typename AttentionKernel<E, Kv, kMaxRows, kVecs>::Span
AttentionKernel<E, Kv, kMaxRows, kVecs>::OfGroup(Span span, int32_t group) const {
  if (group == 0 || span.k == nullptr) return span;
  using Word = typename Kv::Word;
  const auto tiles = static_cast<size_t>(group) * t_.group_stride / sizeof(Word);
  span.k += tiles;
  span.v += tiles;
  if constexpr (Kv::kScaled) {
    span.k_scales += group * t_.block_tokens;
    span.v_scales += group * t_.block_tokens;
  }
  return span;
}

}  // namespace
}  // namespace quire::kernels
