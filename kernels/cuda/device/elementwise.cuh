#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/api/views.h"
#include "kernels/cuda/device/constants.h"
#include "kernels/cuda/device/words.cuh"

// GateMul and SoftCap of kernels/api/ops.h. Blocks along y share out the elements of a row; rows
// come in steps of the grid's x.

namespace quire::kernels::cuda {

struct GateMulArgs {
  const BatchCounts* counts = nullptr;
  const float* gate_up = nullptr;
  int32_t width = 0;
  void* out = nullptr;  // T
};

struct SoftCapArgs {
  const BatchCounts* counts = nullptr;
  float* logits = nullptr;
  int32_t vocab = 0;
  float cap = 0;
};

// x * sigmoid(u), where u is x for SiLU; tanh(z) is 2 sigmoid(2z) - 1, which makes GELU one too.
// Far below zero the divisor is an infinity and the gate closed.
template <GateKind kKind, class Context>
QUIRE_DEVICE float Gate(Context& context, float x) {
  constexpr float kTwoRootTwoOverPi = 1.59576912f;
  float u = x;
  if constexpr (kKind == GateKind::kGeluTanh) {
    u = (x * x * x * 0.044715f + x) * kTwoRootTwoOverPi;
  }
  return x / (1.0f + context.Exp2(u * -kLog2E));
}

inline constexpr int kGateMulElements = 2048;  // of a row, for one block

// T is the element type of the output.
template <class T, GateKind kKind>
struct GateMulKernel {
  static constexpr const char* kName = kKind == GateKind::kSilu
                                           ? (T::kIsBFloat16 ? "silu_mul_bf16" : "silu_mul_f16")
                                           : (T::kIsBFloat16 ? "gelu_mul_bf16" : "gelu_mul_f16");
  static constexpr int kThreads = kGateMulElements / 8;
  static constexpr int kMinBlocks = 1;
  using Args = GateMulArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const int64_t width = args.width;
    const int64_t i = int64_t{context.BlockY()} * kGateMulElements + 8 * context.Thread();
    if (i >= width) return;
    const bool aligned = RowsAligned16(args.gate_up, width, 4) && RowsAligned16(args.out, width, 2);
    for (int64_t row = context.BlockX(); row < args.counts->tokens; row += context.GridX()) {
      const float* const gate = args.gate_up + row * 2 * width + i;
      float product[8];
      for (int half = 0; half < 2; ++half) {
        const int64_t count = width - i - 4 * half;
        const Floats4 g = LoadFloats(gate + 4 * half, count, aligned);
        const Floats4 up = LoadFloats(gate + width + 4 * half, count, aligned);
        for (int k = 0; k < 4; ++k) {
          product[4 * half + k] = Gate<kKind>(context, g.x[k]) * up.x[k];
        }
      }
      StoreRounded(context, product, static_cast<T*>(args.out) + row * width + i, width - i,
                   aligned);
    }
  }
};

struct SoftCapKernel {
  static constexpr const char* kName = "soft_cap";
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 1;
  static constexpr int kElements = 4 * kThreads;  // of a row, for one block
  using Args = SoftCapArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    const int64_t vocab = args.vocab;
    const int64_t i = int64_t{context.BlockY()} * kElements + 4 * context.Thread();
    if (i >= vocab) return;
    const bool aligned = RowsAligned16(args.logits, vocab, 4);
    const float inverse = 1.0f / args.cap;
    for (int64_t row = context.BlockX(); row < args.counts->logit_rows; row += context.GridX()) {
      float* const at = args.logits + row * vocab + i;
      Floats4 v = LoadFloats(at, vocab - i, aligned);
      for (float& x : v.x) x = std::tanh(x * inverse) * args.cap;
      StoreFloats(v, at, vocab - i, aligned);
    }
  }
};

}  // namespace quire::kernels::cuda
