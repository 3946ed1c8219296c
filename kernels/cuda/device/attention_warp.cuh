#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/attention_rows.cuh"
#include "kernels/cuda/device/attention_shape.cuh"
#include "kernels/cuda/device/constants.h"

namespace quire::kernels::cuda {

// How scores become exponents of two: 2^(score * scale), after softcap * tanh(. / softcap).
struct ScoreMap {
  float scale;
  float cap_input;  // > 0: the scores that have been capped are in the base-2 domain already
  float cap;

  QUIRE_DEVICE explicit ScoreMap(const AttentionArgs& args) {
    const bool capped = args.softcap > 0;
    scale = capped ? 1.0f : args.scale * kLog2E;
    cap_input = capped ? 2 * kLog2E * args.scale / args.softcap : 0.0f;
    cap = args.softcap * kLog2E;
  }

  // tanh(x) = 1 - 2 / (e^2x + 1)
  template <class Context>
  QUIRE_DEVICE float Cap(Context& context, float score) const {
    return cap * (1.0f - 2.0f * context.Reciprocal(context.Exp2(score * cap_input) + 1.0f));
  }
};

// What a warp needs to know of its 16 rows to mask a tile, and whether it has to. A lane holds
// parts of rows lane / 4 and lane / 4 + 8.
struct WarpMask {
  int limit[2];  // of the lane's rows: the tokens in [limit - window, limit) are seen
  int window;
  int all_end;   // end of what all of the rows see
  int seen_end;  // end of what any of them sees

  QUIRE_DEVICE WarpMask(const AttentionRows& rows, int first_row, int lane, int window_or_0) {
    limit[0] = rows.Limit(first_row + lane / 4);
    limit[1] = rows.Limit(first_row + lane / 4 + 8);
    all_end = rows.Limit(first_row);
    seen_end = rows.Limit(first_row + 15);
    window = window_or_0 > 0 ? window_or_0 : seen_end;
  }
  QUIRE_DEVICE bool SeesNone(int begin, int end) const {
    return begin >= seen_end || end <= all_end - window;
  }
  QUIRE_DEVICE bool SeesAll(int begin, int end) const {
    return begin >= seen_end - window && end <= all_end;
  }
  QUIRE_DEVICE bool Sees(int half, int token) const {
    return token < limit[half] && token >= limit[half] - window;
  }
};

// One warp's 16 rows: Q, the running (max, sum, out) over the tiles of KV it has been given, in the
// fragment layout of mma.m16n8k16. After FlashAttention-2 (Dao, 2023).
//
// fp8: a 16-bit element of ldmatrix is then two values, which UnpackFp8 parts into evens and odds.
// So a lane that would hold columns 2 i and 2 i + 1 of two neighbouring 8-column matrices holds
// 4 i, 4 i + 2 of the first and 4 i + 1, 4 i + 3 of the second: the columns of Q (the order of a
// sum is free) and of the result are permuted alike.
template <class Shape>
class AttentionWarp {
 public:
  using Element = typename Shape::Element;
  static constexpr int kSteps = Shape::kHeadDim / 16;
  static constexpr int kTokenSteps = Shape::kWarpTokens / 16;

  float max[2];
  float sum[2];  // of the lane's own columns until Finish
  float out[2 * kSteps][4];

  QUIRE_DEVICE void Reset() {
    QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
      max[half] = -INFINITY;
      sum[half] = 0;
    }
    QUIRE_UNROLL for (int i = 0; i < 2 * kSteps; ++i) {
      QUIRE_UNROLL for (int j = 0; j < 4; ++j) out[i][j] = 0;
    }
  }

  // Q of the rows from first_row on. `shared` is where fragments go that find no room in registers:
  // 16 bytes a lane and step; read by other warps after a Sync.
  QUIRE_DEVICE void LoadQ(const AttentionArgs& args, const AttentionRows& rows, int first_row,
                          int lane, std::byte* shared, bool store) {
    if (Shape::kQInShared && !store) return;
    const auto* q = static_cast<const uint32_t*>(args.q);
    const int row0 = first_row + lane / 4;
    const uint32_t* at[2];
    QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
      const int row = row0 + 8 * half;
      at[half] = row < rows.count ? q + rows.Offset(row) / 2 : nullptr;
    }
    QUIRE_UNROLL for (int step = 0; step < kSteps; ++step) {
      uint32_t a[4];
      QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
        const bool valid = at[half] != nullptr && step * 16 < args.head_dim;
        LoadQPairs(at[half] + step * 8, lane % 4, valid, &a[half], &a[half + 2]);
      }
      uint32_t* to = Shape::kQInShared ? SharedQ(shared, step, lane) : q_[step];
      QUIRE_UNROLL for (int i = 0; i < 4; ++i) to[i] = a[i];
    }
  }

  // Takes in kWarpTokens tokens: the stage's rows from row_begin on, which are the sequence's
  // tokens from token_begin on. [warp]
  template <class Context>
  QUIRE_DEVICE void Attend(Context& context, const std::byte* stage, int row_begin, int token_begin,
                           const ScoreMap& map, const WarpMask& mask, std::byte* shared_q) {
    const int end = token_begin + Shape::kWarpTokens;
    if (mask.SeesNone(token_begin, end)) return;
    float p[2 * kTokenSteps][4];
    Scores(context, stage, row_begin, shared_q, p);
    if (Shape::kFp8) ScaleColumns(stage, 0, row_begin, context.Lane(), p);
    if (map.cap_input > 0) {
      QUIRE_UNROLL for (int i = 0; i < 2 * kTokenSteps; ++i) {
        QUIRE_UNROLL for (int j = 0; j < 4; ++j) p[i][j] = map.Cap(context, p[i][j]);
      }
    }
    if (!mask.SeesAll(token_begin, end)) Mask(mask, token_begin, context.Lane(), p);
    Softmax(context, map.scale, p);
    if (Shape::kFp8) ScaleColumns(stage, Shape::kScaleBytes, row_begin, context.Lane(), p);
    AddValues(context, stage + Shape::kTileBytes, row_begin, p);
  }

  // Adds up what the four lanes of a row have. [warp]
  template <class Context>
  QUIRE_DEVICE void Finish(Context& context) {
    QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
      sum[half] += context.ShuffleXor(sum[half], 1);
      sum[half] += context.ShuffleXor(sum[half], 2);
    }
  }

  // Calls store(dimension, x, y) for all pairs of neighbours of row lane / 4 + 8 half that the lane
  // holds.
  template <class Store>
  QUIRE_DEVICE void ForEachPair(int half, int lane, const Store& store) const {
    QUIRE_UNROLL for (int step = 0; step < kSteps; ++step) {
      const float* a = &out[2 * step][2 * half];
      const float* b = &out[2 * step + 1][2 * half];
      if constexpr (Shape::kFp8) {
        const int first = step * 16 + lane % 4 * 4;
        store(first, a[0], b[0]);
        store(first + 2, a[1], b[1]);
      } else {
        const int first = step * 16 + lane % 4 * 2;
        store(first, a[0], a[1]);
        store(first + 8, b[0], b[1]);
      }
    }
  }

 private:
  using Tile = float[2 * kTokenSteps][4];

  static QUIRE_DEVICE uint32_t* SharedQ(std::byte* shared, int step, int lane) {
    return reinterpret_cast<uint32_t*>(shared) + (step * 32 + lane) * 4;
  }

  // The lane's columns of one step of 16: `row` is at its first.
  static QUIRE_DEVICE void LoadQPairs(const uint32_t* row, int quad_lane, bool valid, uint32_t* low,
                                      uint32_t* high) {
    *low = 0;
    *high = 0;
    if (!valid) return;
    if constexpr (Shape::kFp8) {
      const uint32_t first = row[2 * quad_lane];
      const uint32_t second = row[2 * quad_lane + 1];
      *low = (first & 0xffff) | second << 16;
      *high = first >> 16 | (second & 0xffff0000u);
    } else {
      *low = row[quad_lane];
      *high = row[quad_lane + 4];
    }
  }

  // Chunk `even` + `odd` of a row. The first is a constant, so that few addresses depend on the
  // lane.
  static QUIRE_DEVICE const std::byte* Chunk(const std::byte* tile, int row, int even, int odd) {
    const int in_unit = even % Shape::kSwizzleUnit ^ (odd ^ Shape::SwizzleBits(row));
    return tile + row * (Shape::kChunks * 16) + in_unit * 16 +
           even / Shape::kSwizzleUnit * (Shape::kSwizzleUnit * 16);
  }

  // p = Q K^T
  template <class Context>
  QUIRE_DEVICE void Scores(Context& context, const std::byte* k, int row_begin, std::byte* shared_q,
                           Tile& p) {
    QUIRE_UNROLL for (int i = 0; i < 2 * kTokenSteps; ++i) {
      QUIRE_UNROLL for (int j = 0; j < 4; ++j) p[i][j] = 0;
    }
    const int lane = context.Lane();
    QUIRE_UNROLL for (int step = 0; step < kSteps; step += Shape::kFp8 ? 2 : 1) {
      QUIRE_UNROLL for (int i = 0; i < kTokenSteps; ++i) {
        const std::byte* from = KChunk(k, row_begin + i * 16, step, lane);
        uint32_t b[4];
        context.LoadMatrix4(b, from);
        if constexpr (!Shape::kFp8) {
          AddProducts(context, step, lane, shared_q, b, &p[2 * i]);
        } else {
          uint32_t keys[4];
          context.template UnpackFp8<Element>(b[0], keys[0], keys[1]);
          context.template UnpackFp8<Element>(b[1], keys[2], keys[3]);
          AddProducts(context, step, lane, shared_q, keys, &p[2 * i]);
          context.template UnpackFp8<Element>(b[2], keys[0], keys[1]);
          context.template UnpackFp8<Element>(b[3], keys[2], keys[3]);
          AddProducts(context, step + 1, lane, shared_q, keys, &p[2 * i]);
        }
      }
    }
  }

  // What the lane asks of ldmatrix: two matrices of eight tokens each for the columns of a step,
  // one token after the other; fp8: that for two steps.
  static QUIRE_DEVICE const std::byte* KChunk(const std::byte* k, int row, int step, int lane) {
    if constexpr (Shape::kFp8) return Chunk(k, row + (lane & 15), step, lane >> 4);
    return Chunk(k, row + (lane & 7) + (lane >> 4) * 8, 2 * step, lane >> 3 & 1);
  }

  // p[0], p[1] += the step's part of Q K^T for the first and the last eight of 16 tokens.
  template <class Context>
  QUIRE_DEVICE void AddProducts(Context& context, int step, int lane, std::byte* shared_q,
                                const uint32_t (&keys)[4], float (*p)[4]) {
    if constexpr (Shape::kQInShared) {
      const uint32_t* from = SharedQ(shared_q, step, lane);
      const uint32_t q[4] = {from[0], from[1], from[2], from[3]};
      context.template MultiplyAdd<Element>(p[0], q, keys[0], keys[1]);
      context.template MultiplyAdd<Element>(p[1], q, keys[2], keys[3]);
    } else {
      context.template MultiplyAdd<Element>(p[0], q_[step], keys[0], keys[1]);
      context.template MultiplyAdd<Element>(p[1], q_[step], keys[2], keys[3]);
    }
  }

  // Multiplies by the tokens' scales. Those of tokens that a row does not see may be anything: its
  // score is masked afterwards, and the probability 0 stays 0.
  QUIRE_DEVICE void ScaleColumns(const std::byte* stage, int offset, int row_begin, int lane,
                                 Tile& p) {
    const auto* scales = reinterpret_cast<const float*>(stage + 2 * Shape::kTileBytes + offset);
    QUIRE_UNROLL for (int i = 0; i < 2 * kTokenSteps; ++i) {
      QUIRE_UNROLL for (int j = 0; j < 4; ++j) {
        const float scale = scales[row_begin + i * 8 + lane % 4 * 2 + j % 2];
        p[i][j] = p[i][j] == 0 ? 0.0f : p[i][j] * scale;
      }
    }
  }

  QUIRE_DEVICE void Mask(const WarpMask& mask, int token_begin, int lane, Tile& p) {
    QUIRE_UNROLL for (int i = 0; i < 2 * kTokenSteps; ++i) {
      QUIRE_UNROLL for (int j = 0; j < 4; ++j) {
        const int token = token_begin + i * 8 + lane % 4 * 2 + j % 2;
        if (!mask.Sees(j / 2, token)) p[i][j] = -INFINITY;
      }
    }
  }

  // Scores to probabilities relative to the new maximum; what was there before is rescaled.
  template <class Context>
  QUIRE_DEVICE void Softmax(Context& context, float scale, Tile& p) {
    float factor[2];
    float base[2];
    QUIRE_UNROLL for (int half = 0; half < 2; ++half) {
      float top = p[0][2 * half];
      QUIRE_UNROLL for (int i = 0; i < 2 * kTokenSteps; ++i) {
        top = std::fmax(top, std::fmax(p[i][2 * half], p[i][2 * half + 1]));
      }
      top = std::fmax(top, context.ShuffleXor(top, 1));
      top = std::fmax(top, context.ShuffleXor(top, 2));
      const float new_max = std::fmax(max[half], top * scale);
      base[half] = new_max == -INFINITY ? 0.0f : new_max;
      factor[half] = context.Exp2(max[half] - base[half]);
      max[half] = new_max;
      sum[half] *= factor[half];
    }
    QUIRE_UNROLL for (int i = 0; i < 2 * kTokenSteps; ++i) {
      QUIRE_UNROLL for (int j = 0; j < 4; ++j) {
        p[i][j] = context.Exp2(std::fma(p[i][j], scale, -base[j / 2]));
        sum[j / 2] += p[i][j];
      }
    }
    QUIRE_UNROLL for (int i = 0; i < 2 * kSteps; ++i) {
      QUIRE_UNROLL for (int j = 0; j < 4; ++j) out[i][j] *= factor[j / 2];
    }
  }

  // out += P V
  template <class Context>
  QUIRE_DEVICE void AddValues(Context& context, const std::byte* v, int row_begin, const Tile& p) {
    QUIRE_UNROLL for (int i = 0; i < kTokenSteps; ++i) {
      const uint32_t a[4] = {context.template Pack<Element>(p[2 * i][0], p[2 * i][1]),
                             context.template Pack<Element>(p[2 * i][2], p[2 * i][3]),
                             context.template Pack<Element>(p[2 * i + 1][0], p[2 * i + 1][1]),
                             context.template Pack<Element>(p[2 * i + 1][2], p[2 * i + 1][3])};
      const int row = row_begin + i * 16 + (context.Lane() & 15);
      QUIRE_UNROLL for (int step = 0; step < kSteps; step += Shape::kFp8 ? 2 : 1) {
        uint32_t b[4];
        if constexpr (!Shape::kFp8) {
          context.LoadMatrix4Transposed(b, Chunk(v, row, 2 * step, context.Lane() >> 4));
          context.template MultiplyAdd<Element>(out[2 * step], a, b[0], b[1]);
          context.template MultiplyAdd<Element>(out[2 * step + 1], a, b[2], b[3]);
        } else {
          context.LoadMatrix4Transposed(b, Chunk(v, row, step, context.Lane() >> 4));
          AddFp8(context, a, b[0], b[1], step);
          AddFp8(context, a, b[2], b[3], step + 1);
        }
      }
    }
  }

  // `low` and `high`: fp8 pairs of the first and the last eight of 16 tokens.
  template <class Context>
  QUIRE_DEVICE void AddFp8(Context& context, const uint32_t (&a)[4], uint32_t low, uint32_t high,
                           int step) {
    uint32_t even[2];
    uint32_t odd[2];
    context.template UnpackFp8<Element>(low, even[0], odd[0]);
    context.template UnpackFp8<Element>(high, even[1], odd[1]);
    context.template MultiplyAdd<Element>(out[2 * step], a, even[0], even[1]);
    context.template MultiplyAdd<Element>(out[2 * step + 1], a, odd[0], odd[1]);
  }

  uint32_t q_[Shape::kQInShared ? 1 : kSteps][4];
};

}  // namespace quire::kernels::cuda
