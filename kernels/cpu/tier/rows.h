#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/quant_linear.h"
#include "kernels/cpu/tier/tier_kernels.h"

// Operations on one row at a time. E is the element type of the activations they write.

namespace quire::kernels {
namespace {

// 1 / sqrt(mean(x^2) + eps). The sum of squares has four partial sums of a vector each, whatever
// the width.
template <class V>
float InverseRms(const float* x, float eps, int64_t width) {
  typename V::F32 sums[4] = {V::Zero(), V::Zero(), V::Zero(), V::Zero()};
  for (int64_t i = 0, part = 0; i < width; i += V::kLanes, part = (part + 1) % 4) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 v = V::LoadN(x + i, n);
    sums[part] = V::MulAdd(v, v, sums[part]);
  }
  const float sum = V::ReduceAdd(V::Add(V::Add(sums[0], sums[1]), V::Add(sums[2], sums[3])));
  return 1.0f / __builtin_sqrtf(sum / static_cast<float>(width) + eps);
}

template <class E>
void RmsNormRow(const float* x, const float* weight, float eps, int64_t width, void* out) {
  using V = typename E::Vec;
  const float inverse = InverseRms<V>(x, eps, width);
  auto* to = static_cast<typename E::Storage*>(out);
  for (int64_t i = 0; i < width; i += V::kLanes) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 v = V::Mul(V::LoadN(x + i, n), V::Set1(inverse));
    E::StoreN(to + i, V::Mul(v, V::LoadN(weight + i, n)), n);
  }
}

template <class V>
void AddRmsNormRow(const float* x, const float* weight, float eps, int64_t width, float* residual) {
  const float inverse = InverseRms<V>(x, eps, width);
  for (int64_t i = 0; i < width; i += V::kLanes) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 v = V::Mul(V::LoadN(x + i, n), V::Set1(inverse));
    const typename V::F32 sum = V::MulAdd(v, V::LoadN(weight + i, n), V::LoadN(residual + i, n));
    V::StoreN(residual + i, sum, n);
  }
}

// Both gates are x * sigmoid(u): u is x for SiLU; tanh(z) is 2 sigmoid(2z) - 1, which makes GELU
// one.
struct Silu {
  template <class V>
  static typename V::F32 Argument(typename V::F32 x) {
    return x;
  }
};
struct GeluTanh {
  template <class V>
  static typename V::F32 Argument(typename V::F32 x) {
    // Far below zero the gate is closed; its cube must not become an infinity.
    const typename V::F32 bounded = V::Max(V::Set1(-64.0f), x);
    const typename V::F32 cube = V::Mul(V::Mul(bounded, bounded), bounded);
    const typename V::F32 z = V::MulAdd(cube, V::Set1(0.044715f), bounded);
    return V::Mul(z, V::Set1(1.59576912f));  // 2 sqrt(2 / pi)
  }
};

template <class E, class Gate>
void GateMulRow(const float* gate, const float* up, int64_t width, void* out) {
  using V = typename E::Vec;
  auto* to = static_cast<typename E::Storage*>(out);
  for (int64_t i = 0; i < width; i += V::kLanes) {
    const int n = static_cast<int>(Smaller<int64_t>(width - i, V::kLanes));
    const typename V::F32 g = V::LoadN(gate + i, n);
    const typename V::F32 u = Gate::template Argument<V>(g);
    const typename V::F32 e = Exp2<V>(V::Mul(u, V::Set1(-kLog2E)));
    const typename V::F32 gated = V::Div(g, V::Add(V::Set1(1.0f), e));
    E::StoreN(to + i, V::Mul(gated, V::LoadN(up + i, n)), n);
  }
}

template <class V>
void SoftCapRow(float* x, int64_t n, float cap) {
  const float inverse = 1.0f / cap;
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int valid = static_cast<int>(Smaller<int64_t>(n - i, V::kLanes));
    const typename V::F32 capped = Tanh<V>(V::Mul(V::LoadN(x + i, valid), V::Set1(inverse)));
    V::StoreN(x + i, V::Mul(capped, V::Set1(cap)), valid);
  }
}

// Rotates the first elements of one head: i and i + rotary_dim / 2 are a pair. The rest is copied.
template <class E>
void RotateHead(const float* x, const RopeTask& task, typename E::Storage* out) {
  using V = typename E::Vec;
  const float* cos_sin = task.cos_sin;
  const int32_t half = task.rotary_dim / 2;
  for (int32_t i = 0; i < half; i += V::kLanes) {
    const int n = Smaller(half - i, V::kLanes);
    const typename V::F32 c = V::LoadN(cos_sin + i, n);
    const typename V::F32 s = V::LoadN(cos_sin + half + i, n);
    const typename V::F32 a = V::LoadN(x + i, n);
    const typename V::F32 b = V::LoadN(x + half + i, n);
    E::StoreN(out + i, V::Sub(V::Mul(a, c), V::Mul(b, s)), n);
    E::StoreN(out + half + i, V::Add(V::Mul(b, c), V::Mul(a, s)), n);
  }
  for (int32_t i = task.rotary_dim; i < task.head_dim; i += V::kLanes) {
    const int n = Smaller(task.head_dim - i, V::kLanes);
    E::StoreN(out + i, V::LoadN(x + i, n), n);
  }
}

// A head as it goes into the rotation: normalised into `room` where there are weights.
template <class V>
const float* NormHead(const float* x, const float* weight, const RopeTask& task, float* room) {
  if (weight == nullptr) return x;
  const float inverse = InverseRms<V>(x, task.norm_eps, task.head_dim);
  for (int32_t i = 0; i < task.head_dim; i += V::kLanes) {
    V::Store(room + i, V::Mul(V::Mul(V::Load(x + i), V::Set1(inverse)), V::Load(weight + i)));
  }
  return room;
}

// The query heads; returns where the keys begin.
template <class E>
const float* RopeQueries(const RopeTask& task) {
  alignas(64) float normed[kTierHeadDim];
  const float* x = task.qkv;
  auto* q = reinterpret_cast<typename E::Storage*>(task.q_out);
  for (int32_t h = 0; h < task.num_heads; ++h, x += task.head_dim, q += task.head_dim) {
    RotateHead<E>(NormHead<typename E::Vec>(x, task.q_norm, task, normed), task, q);
  }
  return x;
}

// K tile: words [head_dim / kPerWord][block_tokens]. V tile: words [block_tokens / kPerWord]
// [head_dim], so that a word holds the same element of neighbouring tokens. Neighbours may be
// written by other threads: V is stored by halves.
template <class E>
void RopeToken(const RopeTask& task) {
  using V = typename E::Vec;
  using Storage = typename E::Storage;
  alignas(64) Storage head[kTierHeadDim];
  alignas(64) float normed[kTierHeadDim];
  const int32_t dim = task.head_dim;
  const float* x = RopeQueries<E>(task);
  for (int32_t g = 0; g < task.kv_groups; ++g, x += dim) {
    RotateHead<E>(NormHead<V>(x, task.k_norm, task, normed), task, head);
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

// The same with K and V in integers of 8 bits and a scale for each row of a group. Tiles are as
// above, a word being two bytes.
template <class E>
void RopeTokenInt8(const RopeTask& task) {
  using V = typename E::Vec;
  alignas(64) float head[kTierHeadDim];
  alignas(64) float normed[kTierHeadDim];
  uint8_t bytes[kTierHeadDim];
  const int32_t dim = task.head_dim;
  const auto block_tokens = static_cast<size_t>(task.block_tokens);
  const auto slot = static_cast<size_t>(task.slot);
  const float* x = RopeQueries<E>(task);
  float* scale = task.scales;
  for (int32_t g = 0; g < task.kv_groups; ++g, x += dim, scale += block_tokens) {
    RotateHead<F32Element<V>>(NormHead<V>(x, task.k_norm, task, normed), task, head);
    QuantizeRow<F32Element<V>>(head, dim, dim / 4, bytes, scale);
    auto* to = reinterpret_cast<uint8_t*>(task.k) + static_cast<size_t>(g) * task.tile_bytes;
    for (int32_t i = 0; i < dim; ++i) {
      const size_t word = static_cast<size_t>(i / 2) * block_tokens + slot;
      to[2 * word + static_cast<size_t>(i % 2)] = bytes[i] ^ 0x80;  // from unsigned to signed
    }
  }
  for (int32_t g = 0; g < task.kv_groups; ++g, x += dim, scale += block_tokens) {
    QuantizeRow<F32Element<V>>(x, dim, dim / 4, bytes, scale);
    auto* to = reinterpret_cast<uint8_t*>(task.v) + static_cast<size_t>(g) * task.tile_bytes +
               slot / 2 * 2 * static_cast<size_t>(dim) + slot % 2;
    for (int32_t i = 0; i < dim; ++i) to[2 * i] = bytes[i] ^ 0x80;
  }
}

}  // namespace
}  // namespace quire::kernels
