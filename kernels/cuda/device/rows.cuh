#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/api/float_convert.h"
#include "kernels/api/views.h"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/words.cuh"

// Embed, RmsNorm and AddRmsNorm of kernels/api/ops.h: one block a row, rows in steps of the grid.
// A row's bits depend on its width alone.

namespace quire::kernels::cuda {

// The table is row-major.
struct EmbedArgs {
  const BatchCounts* counts = nullptr;
  const int32_t* token_ids = nullptr;
  const SampledToken* previous = nullptr;
  const void* table = nullptr;  // T [vocab, width]
  int32_t vocab = 0;
  int32_t width = 0;
  float scale = 1;
  float* out = nullptr;
};

struct RmsNormArgs {
  const BatchCounts* counts = nullptr;
  const int32_t* logit_rows = nullptr;  // null: all rows
  const float* x = nullptr;
  const float* weight = nullptr;
  float eps = 0;
  int32_t width = 0;
  void* out = nullptr;  // T
};

struct AddRmsNormArgs {
  const BatchCounts* counts = nullptr;
  const float* x = nullptr;
  const float* weight = nullptr;
  float eps = 0;
  int32_t width = 0;
  float* residual = nullptr;
};

template <class T>
QUIRE_DEVICE float ToFloat(uint32_t bits) {
  if constexpr (T::kIsBFloat16) return Bf16ToFloat(static_cast<uint16_t>(bits));
  return F16ToFloat(static_cast<uint16_t>(bits));
}

// T is the table's element type.
template <class T>
struct EmbedKernel {
  static constexpr const char* kName = T::kIsBFloat16 ? "embed_bf16" : "embed_f16";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  using Args = EmbedArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const bool aligned =
        RowsAligned16(args.table, args.width, 2) && RowsAligned16(args.out, args.width, 4);
    for (int64_t row = context.BlockX(); row < args.counts->tokens; row += context.GridX()) {
      int32_t id = args.token_ids[row];
      if (id < 0) id = args.previous[-1 - id].token_id;
      float* const out = args.out + row * args.width;
      // The step before failed to sample: so does what follows from it. An id that is none shares
      // its fate.
      const bool known = id >= 0 && id < args.vocab;
      const T* const from =
          static_cast<const T*>(args.table) + (known ? id : 0) * int64_t{args.width};
      for (int64_t i = 8 * context.Thread(); i < args.width; i += 8 * kThreads) {
        Floats4 halves[2];
        for (Floats4& half : halves) {
          for (float& x : half.x) x = std::numeric_limits<float>::quiet_NaN();
        }
        if (known) LoadScaled(from + i, args.width - i, aligned, args.scale, halves);
        StoreFloats(halves[0], out + i, args.width - i, aligned);
        StoreFloats(halves[1], out + i + 4, args.width - i - 4, aligned);
      }
    }
  }

 private:
  static QUIRE_DEVICE void LoadScaled(const T* from, int64_t count, bool aligned, float scale,
                                      Floats4 (&out)[2]) {
    if (aligned && count >= 8) {
      const Words4 words = *reinterpret_cast<const Words4*>(from);
      for (int i = 0; i < 4; ++i) {
        out[i / 2].x[i % 2 * 2] = ToFloat<T>(words.word[i] & 0xffff) * scale;
        out[i / 2].x[i % 2 * 2 + 1] = ToFloat<T>(words.word[i] >> 16) * scale;
      }
      return;
    }
    for (int i = 0; i < 8; ++i) {
      if (i < count) out[i / 4].x[i % 4] = ToFloat<T>(from[i].bits) * scale;
    }
  }
};

inline constexpr int kNormThreads = 256;
inline constexpr int kRmsNormSharedBytes = kNormThreads / 32 * sizeof(float);

// 1 / sqrt(mean(x^2) + eps), in every thread of the block.
template <class Context>
QUIRE_DEVICE float InverseRms(Context& context, const float* x, int64_t width, float eps,
                              bool aligned) {
  float sum = 0;
  for (int64_t i = 4 * context.Thread(); i < width; i += 4 * kNormThreads) {
    const Floats4 v = LoadFloats(x + i, width - i, aligned);
    sum += (v.x[0] * v.x[0] + v.x[1] * v.x[1]) + (v.x[2] * v.x[2] + v.x[3] * v.x[3]);
  }
  sum = BlockSum<kNormThreads / 32>(context, sum, reinterpret_cast<float*>(context.Shared()));
  return 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
}

// T is the element type of the output.
template <class T>
struct RmsNormKernel {
  static constexpr const char* kName = T::kIsBFloat16 ? "rms_norm_bf16" : "rms_norm_f16";
  static constexpr int kThreads = kNormThreads;
  static constexpr int kMinBlocks = 1;
  using Args = RmsNormArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const int64_t width = args.width;
    const bool gather = args.logit_rows != nullptr;
    const int32_t rows = gather ? args.counts->logit_rows : args.counts->tokens;
    const bool aligned = RowsAligned16(args.x, width, 4) && IsAligned16(args.weight) &&
                         RowsAligned16(args.out, width, 2);
    for (int64_t row = context.BlockX(); row < rows; row += context.GridX()) {
      const float* const x = args.x + (gather ? args.logit_rows[row] : row) * width;
      T* const out = static_cast<T*>(args.out) + row * width;
      const float inverse = InverseRms(context, x, width, args.eps, aligned);
      for (int64_t i = 8 * context.Thread(); i < width; i += 8 * kThreads) {
        float normed[8];
        for (int half = 0; half < 2; ++half) {
          const int64_t at = i + 4 * half;
          const Floats4 v = LoadFloats(x + at, width - at, aligned);
          const Floats4 w = LoadFloats(args.weight + at, width - at, aligned);
          for (int k = 0; k < 4; ++k) normed[4 * half + k] = v.x[k] * inverse * w.x[k];
        }
        StoreRounded(context, normed, out + i, width - i, aligned);
      }
    }
  }
};

struct AddRmsNormKernel {
  static constexpr const char* kName = "add_rms_norm";
  static constexpr int kThreads = kNormThreads;
  static constexpr int kMinBlocks = 1;
  using Args = AddRmsNormArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const int64_t width = args.width;
    const bool aligned =
        RowsAligned16(args.x, width, 4) && IsAligned16(args.weight) && IsAligned16(args.residual);
    for (int64_t row = context.BlockX(); row < args.counts->tokens; row += context.GridX()) {
      const float* const x = args.x + row * width;
      float* const residual = args.residual + row * width;
      const float inverse = InverseRms(context, x, width, args.eps, aligned);
      for (int64_t i = 4 * context.Thread(); i < width; i += 4 * kThreads) {
        const Floats4 v = LoadFloats(x + i, width - i, aligned);
        const Floats4 w = LoadFloats(args.weight + i, width - i, aligned);
        Floats4 sum = LoadFloats(residual + i, width - i, aligned);
        for (int k = 0; k < 4; ++k) sum.x[k] += v.x[k] * inverse * w.x[k];
        StoreFloats(sum, residual + i, width - i, aligned);
      }
    }
  }
};

}  // namespace quire::kernels::cuda
