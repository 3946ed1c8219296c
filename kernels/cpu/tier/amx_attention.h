#pragma once

#include "kernels/cpu/tier/amx_tiles.h"
#include "kernels/cpu/tier/kv_element.h"
#include "kernels/cpu/tier/vec_avx512.h"

// Attention's products on AMX tiles, for keys and values in bf16 and heads of whole tiles along K.
// A K tile of a block is what the tile multiplication wants as its second operand, and so are the
// values of 32 tokens that lie in one piece.

namespace quire::kernels {
namespace {

struct AmxKv : DenseKv<Bf16Element<Avx512>> {
  static constexpr bool kInTiles = true;
  static constexpr int kRowTiles = 5;  // of the registers: sums in 0 to 3, rows in 4
  static constexpr int32_t kTileTokens = 2 * kRowBlockSide;  // along K, where values are multiplied

  // Of the tiles that follow.
  static void UseRows(int32_t rows) { ConfigureTiles(kRowTiles, rows); }

  // scores[row][token], kAttentionChunk apart, of 16 tokens from each of k[0, spans); `next`: as
  // many keys that will be wanted, or null.
  static void Score(const uint32_t* q, int32_t dim_words, const Word* const* k, int32_t spans,
                    int32_t block_tokens, const Word* const* next, float* scores) {
    WritesComeFirst();
    int32_t s = 0;
    for (; s + 4 <= spans; s += 4) {
      ScoreTiles<4>(q, dim_words, k + s, block_tokens, next == nullptr ? next : next + s,
                    scores + s * kRowBlockSide);
    }
    for (; s < spans; ++s) {
      ScoreTiles<1>(q, dim_words, k + s, block_tokens, next == nullptr ? next : next + s,
                    scores + s * kRowBlockSide);
    }
  }

  // out[row][dim] += probs[row] times the values of 32 tokens from each of v[begin, end), whose
  // probabilities begin 16 words apart and those of the next row kAttentionChunk / 2 words behind.
  // `next`: values that will be wanted, of 16 tokens each and two for each of v; or null.
  static void AddValues(const uint32_t* probs, const Word* const* v, int32_t begin, int32_t end,
                        int32_t dim, const Word* const* next, float* out) {
    WritesComeFirst();
    int32_t d = 0;
    for (; d + 4 * kRowBlockSide <= dim; d += 4 * kRowBlockSide) {
      ValueTiles<4>(probs, v, begin, end, dim, d, next, out + d);
    }
    for (; d < dim; d += kRowBlockSide) ValueTiles<1>(probs, v, begin, end, dim, d, next, out + d);
  }

  static bool AllFinite(const Word* v, int32_t words) {
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    __mmask32 found = 0;
    for (int32_t i = 0; i < words; i += Avx512::kLanes) {
      const __m512i bits = _mm512_and_si512(Avx512::LoadWords(v + i), exponent);
      found |= _mm512_cmpeq_epi16_mask(bits, exponent);
    }
    return found == 0;
  }

 private:
  template <int kTiles>
  static void ScoreTiles(const uint32_t* q, int32_t dim_words, const Word* const* k,
                         int32_t block_tokens, const Word* const* next, float* scores) {
    constexpr int64_t kScoreStride = kAttentionChunk * sizeof(float);
    const int64_t row_stride = int64_t{dim_words} * 4;
    const int64_t word_stride = int64_t{block_tokens} * 4;
    ZeroSums<kTiles>();
    for (int32_t d = 0; d < dim_words; d += kRowBlockSide) {
      const int64_t words = int64_t{d} * block_tokens;
      for (int t = 0; t < kTiles && next != nullptr; ++t) {
        for (int32_t w = 0; w < kRowBlockSide; ++w) {
          __builtin_prefetch(next[t] + words + w * block_tokens, 0, kIntoL2);
        }
      }
      _tile_loadd(4, q + d, row_stride);
      _tile_loadd(5, k[0] + words, word_stride);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (kTiles == 4) {
        _tile_loadd(6, k[1] + words, word_stride);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, k[2] + words, word_stride);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, k[3] + words, word_stride);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
    StoreSums<kTiles>(scores, kScoreStride);
  }

  template <int kTiles>
  static void ValueTiles(const uint32_t* probs, const Word* const* v, int32_t begin, int32_t end,
                         int32_t dim, int32_t d, const Word* const* next, float* out) {
    constexpr int64_t kProbStride = kAttentionChunk / 2 * sizeof(uint32_t);
    const int64_t stride = int64_t{dim} * 4;
    LoadSums<kTiles>(out, stride);
    for (int32_t b = begin; b < end; ++b) {
      const Word* values = v[b] + d;
      for (int32_t span = 2 * b; span < 2 * b + 2 && next != nullptr; ++span) {
        for (int32_t row = 0; row < kRowBlockSide / 2; ++row) {
          for (int t = 0; t < kTiles; ++t) {
            __builtin_prefetch(next[span] + row * dim + d + t * kRowBlockSide, 0, kIntoL2);
          }
        }
      }
      _tile_loadd(4, probs + b * kRowBlockSide, kProbStride);
      _tile_loadd(5, values, stride);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (kTiles == 4) {
        _tile_loadd(6, values + kRowBlockSide, stride);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, values + 2 * kRowBlockSide, stride);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, values + 3 * kRowBlockSide, stride);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
    StoreSums<kTiles>(out, stride);
  }

  template <int kTiles>
  static void ZeroSums() {
    _tile_zero(0);
    if constexpr (kTiles == 4) {
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  template <int kTiles>
  static void LoadSums(const float* from, int64_t stride) {
    _tile_loadd(0, from, stride);
    if constexpr (kTiles == 4) {
      _tile_loadd(1, from + kRowBlockSide, stride);
      _tile_loadd(2, from + 2 * kRowBlockSide, stride);
      _tile_loadd(3, from + 3 * kRowBlockSide, stride);
    }
  }
  template <int kTiles>
  static void StoreSums(float* to, int64_t stride) {
    _tile_stored(0, to, stride);
    if constexpr (kTiles == 4) {
      _tile_stored(1, to + kRowBlockSide, stride);
      _tile_stored(2, to + 2 * kRowBlockSide, stride);
      _tile_stored(3, to + 3 * kRowBlockSide, stride);
    }
  }
};

}  // namespace
}  // namespace quire::kernels
