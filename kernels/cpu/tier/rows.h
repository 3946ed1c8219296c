#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/tier_kernels.h"

// Operations on one row at a time. E is the element type of the activations they write.

namespace quire::kernels {
namespace {

// The sum of squares has four partial sums of a vector each, whatever the width.
template <class E>
void RmsNormRow(const float* x, const float* weight, float eps, int64_t width, void* out) {
  using V = typename E::Vec;
  typename V::F32 sums[4] = {V::Zero(), V::Zero(), V::Zero(), V::Zero()};
  for (int64_t i = 0, part = 0; i < width; i += V::kLanes, part = (part + 1) % 4) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 v = V::LoadN(x + i, n);
    sums[part] = V::MulAdd(v, v, sums[part]);
  }
  const float sum = V::ReduceAdd(V::Add(V::Add(sums[0], sums[1]), V::Add(sums[2], sums[3])));
  const float inverse = 1.0f / __builtin_sqrtf(sum / static_cast<float>(width) + eps);
  auto* to = static_cast<typename E::Storage*>(out);
  for (int64_t i = 0; i < width; i += V::kLanes) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 v = V::Mul(V::LoadN(x + i, n), V::Set1(inverse));
    E::StoreN(to + i, V::Mul(v, V::LoadN(weight + i, n)), n);
  }
}

template <class E>
void SiluMulRow(const float* gate, const float* up, int64_t width, void* out) {
  using V = typename E::Vec;
  auto* to = static_cast<typename E::Storage*>(out);
  for (int64_t i = 0; i < width; i += V::kLanes) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 g = V::LoadN(gate + i, n);
    const typename V::F32 e = Exp2<V>(V::Mul(g, V::Set1(-kLog2E)));
    const typename V::F32 silu = V::Div(g, V::Add(V::Set1(1.0f), e));
    E::StoreN(to + i, V::Mul(silu, V::LoadN(up + i, n)), n);
  }
}

// Rotates one head: elements i and i + head_dim / 2 are a pair.
template <class E>
void RotateHead(const float* x, const float* cos_sin, int32_t head_dim, typename E::Storage* out) {
  using V = typename E::Vec;
  const int32_t half = head_dim / 2;
  for (int32_t i = 0; i < half; i += V::kLanes) {
    const int n = Smaller(half - i, V::kLanes);
    const typename V::F32 c = V::LoadN(cos_sin + i, n);
    const typename V::F32 s = V::LoadN(cos_sin + half + i, n);
    const typename V::F32 a = V::LoadN(x + i, n);
    const typename V::F32 b = V::LoadN(x + half + i, n);
    E::StoreN(out + i, V::Sub(V::Mul(a, c), V::Mul(b, s)), n);
    E::StoreN(out + half + i, V::Add(V::Mul(b, c), V::Mul(a, s)), n);
  }
}

// K tile: words [head_dim / kPerWord][block_tokens]. V tile: words [block_tokens / kPerWord]
// [head_dim], so that a word holds the same element of neighbouring tokens. Neighbours may be
// written by other threads: V is stored by halves.
template <class E>
void RopeToken(const RopeTask& task) {
  using V = typename E::Vec;
  using Storage = typename E::Storage;
  alignas(64) Storage head[kMaxHeadDim];
  const int32_t dim = task.head_dim;
  const float* x = task.qkv;
  auto* q = reinterpret_cast<Storage*>(task.q_out);
  for (int32_t h = 0; h < task.num_heads; ++h, x += dim, q += dim) {
    RotateHead<E>(x, task.cos_sin, dim, q);
  }
  for (int32_t g = 0; g < task.kv_groups; ++g, x += dim) {
    RotateHead<E>(x, task.cos_sin, dim, head);
    std::byte* tile = task.k + static_cast<size_t>(g) * task.tile_bytes;
    for (int32_t word = 0; word < dim / E::kPerWord; ++word) {
      __builtin_memcpy(tile + 4 * (word * static_cast<size_t>(task.block_tokens) +
                                   static_cast<size_t>(task.slot)),
                       head + word * E::kPerWord, 4);
    }
  }
  for (int32_t g = 0; g < task.kv_groups; ++g, x += dim) {
    for (int32_t i = 0; i < dim; i += V::kLanes) E::StoreN(head + i, V::Load(x + i), V::kLanes);
    auto* tile = reinterpret_cast<Storage*>(task.v + static_cast<size_t>(g) * task.tile_bytes);
    Storage* to = tile + (task.slot / E::kPerWord) * dim * E::kPerWord + task.slot % E::kPerWord;
    for (int32_t i = 0; i < dim; ++i) to[i * E::kPerWord] = head[i];
  }
}

}  // namespace
}  // namespace quire::kernels
