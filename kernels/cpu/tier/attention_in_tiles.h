#pragma once

#include "kernels/cpu/tier/attention.h"

// What AttentionKernel does otherwise where Kv::kInTiles: products of whole tiles of rows with 16
// keys, and with the values of kTileTokens tokens.

namespace quire::kernels {
namespace {

// The same as ScoreRows; the keys of the next chunk come in with the first tile of rows.
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::ScoreInTiles(int32_t row, int32_t rows, Range tokens,
                                                           bool fetch) {
  const typename Kv::Word* keys[kSpans];
  const typename Kv::Word* next[kSpans];
  const int32_t first = tokens.begin / kSpan;
  const int32_t spans = (tokens.end + kSpan - 1) / kSpan - first;
  for (int32_t i = 0; i < spans; ++i) {
    keys[i] = spans_[first + i].k;
    next[i] = next_[first + i].k;
  }
  Kv::UseRows(rows);
  Kv::Score(q_ + row * dim_words_, dim_words_, keys, spans, t_.block_tokens, fetch ? next : nullptr,
            s_.scores + first * kSpan);
  for (int32_t i = 0; i < rows; ++i) {
    float* scores = s_.scores + i * kChunk;
    const F32 scale = V::Set1(q_scale_[row + i]);
    for (int32_t t = tokens.begin; t < tokens.end; t += V::kLanes) {
      V::Store(scores + t, V::Mul(V::Load(scores + t), scale));
    }
  }
}

// The values of each kTileTokens of the chunk that a row of the task can see in full, in one piece.
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::GatherValues(int32_t kv, int32_t kv_end) {
  constexpr int32_t kPieceSpans = Kv::kTileTokens / kSpan;
  constexpr int32_t kSpanWords = kSpan / Kv::kPerWord;
  const int32_t words = kSpanWords * dim_;  // of a span
  for (int32_t b = 0; b < kChunk / Kv::kTileTokens; ++b) {
    const int32_t begin = kv + b * Kv::kTileTokens;
    if (begin < first_[0] || begin + Kv::kTileTokens > kv_end) continue;
    values_[b] = spans_[b * kPieceSpans].v;
    if (t_.block_tokens >= Kv::kTileTokens) continue;
    auto* piece = s_.values + b * kPieceSpans * words;
    for (int32_t i = 0; i < kPieceSpans; ++i) {
      __builtin_memcpy(piece + i * words, spans_[b * kPieceSpans + i].v,
                       static_cast<size_t>(words) * sizeof(*piece));
    }
    values_[b] = piece;
  }
}

// A row's values come as those of the tokens before the first piece that it sees in full, those
// pieces, and the tokens behind them. That follows from the row alone, and so do its bits. The
// values of the next chunk come in with the first tile of rows.
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::AddTiledValues(int32_t row, int32_t rows, int32_t kv,
                                                             bool fetch) {
  constexpr int32_t kPieces = kChunk / Kv::kTileTokens;
  constexpr int32_t kPieceWords = Kv::kTileTokens / Kv::kPerWord;
  Range any = {kPieces, 0};
  Range common = {0, kPieces};
  for (int32_t i = 0; i < rows; ++i) {
    const Range seen = TokensSeen(row + i, kv);
    const Range whole = PiecesSeen(seen);
    RescaleOut(row + i, i);
    AddEdgeValues(row + i, i,
                  {seen.begin / Kv::kPerWord,
                   whole.begin < whole.end ? whole.begin * kPieceWords : WordsUpTo(seen.end)},
                  seen);
    for (int32_t b = 0; b < kPieces; ++b) {
      uint32_t* piece = s_.tile_probs + i * kChunkWords + b * kPieceWords;
      const uint32_t* probs = s_.probs + i * kChunkWords + b * kPieceWords;
      V::StoreWords(piece, whole.Has(b) ? V::LoadWords(probs) : V::SetWord(0));
    }
    common = {Larger(common.begin, whole.begin), Smaller(common.end, whole.end)};
    if (whole.begin >= whole.end) continue;
    any = {Smaller(any.begin, whole.begin), Larger(any.end, whole.end)};
  }
  if (any.begin < any.end) AddPieces(row, rows, kv, any, common, fetch);
  for (int32_t i = 0; i < rows; ++i) {
    const Range seen = TokensSeen(row + i, kv);
    const Range whole = PiecesSeen(seen);
    if (whole.begin >= whole.end) continue;
    AddEdgeValues(row + i, i, {whole.end * kPieceWords, WordsUpTo(seen.end)}, seen);
  }
}

// Where a piece is not seen in full by all rows its probabilities are 0 for the others, which is as
// good as leaving it out unless a value is not finite.
template <class E, class Kv, int kMaxRows, int kVecs>
void AttentionKernel<E, Kv, kMaxRows, kVecs>::AddPieces(int32_t row, int32_t rows, int32_t kv,
                                                        Range any, Range common, bool fetch) {
  constexpr int32_t kPieceWords = Kv::kTileTokens / Kv::kPerWord;
  const typename Kv::Word* spans[kSpans];
  for (int32_t i = 0; i < kSpans; ++i) spans[i] = next_[i].v;
  const typename Kv::Word* const* next = fetch ? spans : nullptr;
  Kv::UseRows(rows);
  int32_t begin = any.begin;
  for (int32_t b = any.begin; b < any.end; ++b) {
    if (common.Has(b) || Kv::AllFinite(values_[b], kPieceWords * dim_)) continue;
    Kv::AddValues(s_.tile_probs, values_, begin, b, dim_, next, out_ + row * dim_);
    begin = b + 1;
    for (int32_t i = 0; i < rows; ++i) {
      const Range seen = TokensSeen(row + i, kv);
      if (!PiecesSeen(seen).Has(b)) continue;
      AddEdgeValues(row + i, i, {b * kPieceWords, begin * kPieceWords}, seen);
    }
  }
  Kv::AddValues(s_.tile_probs, values_, begin, any.end, dim_, next, out_ + row * dim_);
}

}  // namespace
}  // namespace quire::kernels
