#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/api/ops.h"
#include "kernels/cuda/device/e4m3.h"
#include "kernels/cuda/device/words.cuh"

// RopeWriteKv of kernels/api/ops.h. Half a warp takes a head of Q, K or V; blocks along y share out
// the heads, tokens come in steps of the grid's x. A K or V tile is row-major: [block_tokens][D].

namespace quire::kernels::cuda {

struct RopeWriteKvArgs {
  const BatchCounts* counts = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* q_start = nullptr;
  BlockTablesView tables;  // of the layer's cache class
  const float* qkv = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  float norm_eps = 0;
  int32_t rotary_dim = 0;
  const float* cos_sin = nullptr;
  int32_t num_heads = 0;
  KvLayerView kv;
  // fp8: from the layer's place in a block to the f32 scales of its rows, [K, V][groups]
  // [block_tokens].
  uint32_t scale_offset = 0;
  void* q_out = nullptr;  // T
};

inline constexpr int kLanesAHead = 16;
inline constexpr int kRopeHeads = 16;  // for one block

// [warp] The sequence whose tokens include `token`: each round looks at 32 places.
template <class Context>
QUIRE_DEVICE int32_t SequenceOf(Context& context, const int32_t* q_start, int32_t sequences,
                                int32_t token) {
  int32_t first = 0;
  for (int32_t left = sequences + 1; left > 1;) {
    const int32_t step = (left + 31) / 32;
    const int32_t at = step * context.Lane();
    const uint32_t begun = context.Ballot(at < left && q_start[first + at] <= token);
    int32_t last = 0;  // lane 0's place always begins at or before the token
    for (int32_t half = 16; half > 0; half /= 2) {
      if ((begun >> (last + half)) != 0) last += half;
    }
    first += step * last;
    left = left - step * last < step ? left - step * last : step;
  }
  return first;
}

// T is the element type of Q and, unless that is fp8 (e4m3 with a scale of its own for each row of
// a group), of K and V.
template <class T, bool kFp8>
struct RopeWriteKvKernel {
  static constexpr const char* kName =
      kFp8 ? (T::kIsBFloat16 ? "rope_write_fp8_kv_bf16" : "rope_write_fp8_kv_f16")
           : (T::kIsBFloat16 ? "rope_write_kv_bf16" : "rope_write_kv_f16");
  static constexpr int kThreads = kRopeHeads * kLanesAHead;
  static constexpr int kMinBlocks = 1;
  using Args = RopeWriteKvArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const int32_t all_heads = args.num_heads + 2 * args.kv.kv_groups;
    const int32_t head = context.BlockY() * kRopeHeads + context.Thread() / kLanesAHead;
    const int32_t warps_last_head = context.BlockY() * kRopeHeads + context.Warp() * 2 + 1;
    if (warps_last_head - 1 >= all_heads) return;
    for (int64_t token = context.BlockX(); token < args.counts->tokens; token += context.GridX()) {
      const int32_t position = args.positions[token];
      uint32_t block = 0;
      if (warps_last_head >= args.num_heads) {
        const int32_t sequence =
            SequenceOf(context, args.q_start, args.counts->sequences, static_cast<int32_t>(token));
        block = args.tables.offsets[args.tables.start[sequence] + position / args.kv.block_tokens];
      }
      const Head task = MakeHead(args, token, head < all_heads ? head : 0, position);
      float values[kChunks][8];
      Rotate(args, task, InverseHeadRms(context, args, task), values, context.Lane());
      const float inverse_scale =
          kFp8 ? WriteScale(context, args, task, values, block, position, head < all_heads) : 1;
      if (head < all_heads) Store(context, args, task, values, block, inverse_scale);
    }
  }

 private:
  static constexpr int kChunks = kMaxHeadDim / (8 * kLanesAHead);  // of eight elements, for a lane

  // One head of one token.
  struct Head {
    const float* x;
    const float* norm;     // null: none
    const float* cos_sin;  // of the position
    int32_t rotary_dim;
    int32_t group;  // below 0: a head of Q; from kv_groups on: V
    int64_t to;     // first element in q_out, or in the tile
  };

  static QUIRE_DEVICE Head MakeHead(const Args& args, int64_t token, int32_t head,
                                    int32_t position) {
    const KvLayerView& kv = args.kv;
    const int64_t dim = kv.head_dim;
    const int32_t group = head - args.num_heads;
    Head out;
    out.x = args.qkv + (token * (args.num_heads + 2 * kv.kv_groups) + head) * dim;
    out.norm = group < 0 ? args.q_norm : group < kv.kv_groups ? args.k_norm : nullptr;
    out.cos_sin = args.cos_sin + int64_t{position} * args.rotary_dim;
    out.rotary_dim = group < kv.kv_groups ? args.rotary_dim : 0;
    out.group = group;
    out.to = group < 0 ? (token * args.num_heads + head) * dim : position % kv.block_tokens * dim;
    return out;
  }

  static QUIRE_DEVICE int32_t FirstOfChunk(int chunk, int lane) {
    return 8 * (chunk * kLanesAHead + lane % kLanesAHead);
  }

  // [warp] Lanes of a head that is none compute with head 0.
  template <class Context>
  static QUIRE_DEVICE float InverseHeadRms(Context& context, const Args& args, const Head& head) {
    if (args.q_norm == nullptr) return 1;
    const int32_t dim = args.kv.head_dim;
    const bool aligned = IsAligned16(args.qkv);
    float sum = 0;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int32_t i = FirstOfChunk(chunk, context.Lane());
      if (i >= dim) continue;
      float x[8];
      Load8(head.x + i, aligned, x);
      for (float v : x) sum += v * v;
    }
    for (int mask = kLanesAHead / 2; mask > 0; mask /= 2) sum += context.ShuffleXor(sum, mask);
    return 1.0f / std::sqrt(sum / static_cast<float>(dim) + args.norm_eps);
  }

  // The lane's elements, zeros beyond the head.
  static QUIRE_DEVICE void Rotate(const Args& args, const Head& head, float inverse,
                                  float (&values)[kChunks][8], int lane) {
    const int32_t half = head.rotary_dim / 2;
    // Eights of elements then lie in one half, and their partners in another eight.
    const bool in_eights = half % 8 == 0 && IsAligned16(args.cos_sin);
    const bool aligned =
        IsAligned16(args.qkv) && IsAligned16(args.q_norm) && IsAligned16(args.k_norm);
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int32_t i = FirstOfChunk(chunk, lane);
      float(&own)[8] = values[chunk];
      for (float& x : own) x = 0;
      if (i >= args.kv.head_dim) continue;
      LoadNormed(head, i, inverse, aligned, own);
      if (i < head.rotary_dim && in_eights) {
        RotateEight(head, i, half, inverse, aligned, own);
        continue;
      }
      for (int k = 0; k < 8; ++k) {
        if (i + k < head.rotary_dim) own[k] = RotateOne(head, i + k, half, inverse, own[k]);
      }
    }
  }

  // [warp] Scales K and V so that the largest element of the row becomes the largest of e4m3.
  // Returns what to multiply by.
  template <class Context>
  static QUIRE_DEVICE float WriteScale(Context& context, const Args& args, const Head& head,
                                       const float (&values)[kChunks][8], uint32_t block,
                                       int32_t position, bool valid) {
    constexpr float kSmallest = 1e-30f;  // whose inverse is finite
    float largest = kSmallest;
    for (const auto& chunk : values) {
      for (float x : chunk) largest = std::abs(x) > largest ? std::abs(x) : largest;
    }
    for (int mask = kLanesAHead / 2; mask > 0; mask /= 2) {
      const float other = context.ShuffleXor(largest, mask);
      largest = other > largest ? other : largest;
    }
    if (valid && head.group >= 0 && context.Lane() % kLanesAHead == 0) {
      const KvLayerView& kv = args.kv;
      std::byte* const scales = InBlock(kv, block) + args.scale_offset;
      reinterpret_cast<float*>(scales)[head.group * kv.block_tokens + position % kv.block_tokens] =
          largest / kMaxE4m3;
    }
    return kMaxE4m3 / largest;
  }

  static QUIRE_DEVICE std::byte* InBlock(const KvLayerView& kv, uint32_t block) {
    return kv.base + block * kKvOffsetUnit + kv.layer_offset;
  }

  // The V tiles follow the K tiles.
  template <class Context>
  static QUIRE_DEVICE void Store(Context& context, const Args& args, const Head& head,
                                 const float (&values)[kChunks][8], uint32_t block,
                                 float inverse_scale) {
    const KvLayerView& kv = args.kv;
    const int64_t tile = int64_t{kv.block_tokens} * kv.head_dim;  // elements
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int32_t i = FirstOfChunk(chunk, context.Lane());
      if (i >= kv.head_dim) continue;
      if (head.group < 0) {
        StoreRounded(context, values[chunk], static_cast<T*>(args.q_out) + head.to + i, 8, true);
      } else if constexpr (kFp8) {
        auto* const to = reinterpret_cast<uint8_t*>(InBlock(kv, block));
        StoreE4m3(values[chunk], inverse_scale, to + head.group * tile + head.to + i);
      } else {
        T* const to = reinterpret_cast<T*>(InBlock(kv, block));
        StoreRounded(context, values[chunk], to + head.group * tile + head.to + i, 8, true);
      }
    }
  }

  // `own` are the elements from i on.
  static QUIRE_DEVICE void RotateEight(const Head& head, int32_t i, int32_t half, float inverse,
                                       bool aligned, float (&own)[8]) {
    const bool low = i < half;
    float partner[8], cosine[8], sine[8];
    LoadNormed(head, low ? i + half : i - half, inverse, aligned, partner);
    Load8(head.cos_sin + (low ? i : i - half), true, cosine);
    Load8(head.cos_sin + (low ? i + half : i), true, sine);
    for (int k = 0; k < 8; ++k) own[k] = Rotated(own[k], partner[k], cosine[k], sine[k], low);
  }

  static QUIRE_DEVICE float RotateOne(const Head& head, int32_t i, int32_t half, float inverse,
                                      float own) {
    const bool low = i < half;
    const int32_t other = low ? i + half : i - half;
    float partner = head.x[other];
    if (head.norm != nullptr) partner = partner * inverse * head.norm[other];
    const int32_t pair = low ? i : other;
    return Rotated(own, partner, head.cos_sin[pair], head.cos_sin[half + pair], low);
  }

  static QUIRE_DEVICE float Rotated(float own, float partner, float cosine, float sine, bool low) {
    return low ? own * cosine - partner * sine : own * cosine + partner * sine;
  }

  static QUIRE_DEVICE void LoadNormed(const Head& head, int32_t i, float inverse, bool aligned,
                                      float (&out)[8]) {
    Load8(head.x + i, aligned, out);
    if (head.norm == nullptr) return;
    float weight[8];
    Load8(head.norm + i, aligned, weight);
    for (int k = 0; k < 8; ++k) out[k] = out[k] * inverse * weight[k];
  }

  static QUIRE_DEVICE void Load8(const float* from, bool aligned, float (&out)[8]) {
    const Floats4 low = LoadFloats(from, 4, aligned);
    const Floats4 high = LoadFloats(from + 4, 4, aligned);
    for (int k = 0; k < 4; ++k) {
      out[k] = low.x[k];
      out[4 + k] = high.x[k];
    }
  }
};

}  // namespace quire::kernels::cuda
