#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/row_tiles.h"
#include "kernels/cpu/tier/tier_kernels.h"

// Causal attention over paged KV (FlashAttention-2, Dao 2023, on packed query heads). The running
// (max, sum, out) of a row restarts at every multiple of kSplitTokens tokens, the KV inside a split
// is taken in chunks at multiples of kAttentionChunk, and no masked position takes part in any sum:
// so a row's bits depend on its own position, query and KV alone.

namespace quire::kernels {
namespace {

inline constexpr int32_t kSpan = 16;  // tokens that lie together in a block of any size
inline constexpr int32_t kSpans = kAttentionChunk / kSpan;
inline constexpr int kIntoL2 = 2;

struct KvSpan {
  const uint32_t* k;  // words [head_dim words][block_tokens], at this span's first token
  const uint32_t* v;  // words [span tokens / kPerWord][head_dim]
};

struct Range {
  int32_t begin;
  int32_t end;
  bool Has(int32_t i) const { return i >= begin && i < end; }
};

// The i-th of `parts` equal shares of [0, total).
inline Range Share(int32_t total, int32_t i, int32_t parts) {
  return {total * i / parts, total * (i + 1) / parts};
}

// kMaxRows rows by kVecs vectors fill the registers.
template <class E, int kMaxRows, int kVecs>
class AttentionKernel {
  using V = typename E::Vec;
  using F32 = typename V::F32;
  static_assert(kMaxRows <= kMaxTileRows);
  static constexpr int32_t kChunk = kAttentionChunk;
  static constexpr int32_t kChunkWords = kAttentionChunk / E::kPerWord;

 public:
  static void Run(const AttentionTask& task, AttentionScratch& scratch) {
    AttentionKernel(task, scratch).AllSplits();
  }

 private:
  AttentionKernel(const AttentionTask& task, AttentionScratch& scratch)
      : t_(task), s_(scratch), dim_(task.head_dim), dim_words_(task.head_dim / E::kPerWord) {}

  // The first row that sees token `kv`; rows see more and more.
  int32_t FirstRowThatSees(int32_t kv) const {
    const int32_t token = kv - t_.first_position;
    return Smaller(t_.rows, Larger(0, token * t_.q_per_group - t_.row_begin));
  }
  int64_t RowOffset(int32_t r) const {
    const int32_t row = t_.row_begin + r;
    const int64_t token = row / t_.q_per_group;
    return (token * t_.num_heads + row % t_.q_per_group) * dim_;
  }

  void AllSplits() {
    for (int32_t r = 0; r < t_.rows; ++r) {
      limit_[r] = t_.first_position + (t_.row_begin + r) / t_.q_per_group + 1;
      __builtin_memcpy(s_.q + r * dim_words_,
                       t_.q + RowOffset(r) * static_cast<int64_t>(sizeof(typename E::Storage)),
                       static_cast<size_t>(dim_words_) * 4);
    }
    const int32_t kv_end = limit_[t_.rows - 1];
    FindSpans(0, kv_end, next_);
    for (int32_t split = 0; split < kv_end; split += kSplitTokens) {
      const int32_t first_row = FirstRowThatSees(split);
      Restart(first_row);
      const int32_t split_end = Smaller(split + kSplitTokens, kv_end);
      for (int32_t kv = split; kv < split_end; kv += kChunk) Chunk(kv, kv_end);
      Merge(first_row, split == 0);
    }
    for (int32_t r = 0; r < t_.rows; ++r) StoreOut(r);
  }

  void Restart(int32_t first_row) {
    for (int32_t r = first_row; r < t_.rows; ++r) {
      s_.max[r] = -__builtin_inff();
      V::Store(s_.sum + r * V::kLanes, V::Zero());
      for (int32_t d = 0; d < dim_; d += V::kLanes) V::Store(s_.out + r * dim_ + d, V::Zero());
    }
  }

  void Merge(int32_t first_row, bool first_split) {
    for (int32_t r = first_row; r < t_.rows; ++r) {
      const float sum = V::ReduceAdd(V::Load(s_.sum + r * V::kLanes));
      const float old_max = first_split ? -__builtin_inff() : s_.merged_max[r];
      const float new_max = Larger(old_max, s_.max[r]);
      const F32 old_scale = Exp2<V>(V::Set1(old_max - new_max));
      const F32 scale = Exp2<V>(V::Set1(s_.max[r] - new_max));
      for (int32_t d = 0; d < dim_; d += V::kLanes) {
        float* merged = s_.merged + r * dim_ + d;
        const F32 x = V::Mul(V::Load(s_.out + r * dim_ + d), scale);
        V::Store(merged, first_split ? x : V::MulAdd(V::Load(merged), old_scale, x));
      }
      const float old_sum = first_split ? 0.0f : s_.merged_sum[r] * V::Lane0(old_scale);
      s_.merged_sum[r] = old_sum + sum * V::Lane0(scale);
      s_.merged_max[r] = new_max;
    }
  }

  void StoreOut(int32_t r) {
    const F32 inverse = V::Set1(1.0f / s_.merged_sum[r]);
    auto* out = reinterpret_cast<typename E::Storage*>(t_.out) + RowOffset(r);
    for (int32_t d = 0; d < dim_; d += V::kLanes) {
      E::StoreN(out + d, V::Mul(V::Load(s_.merged + r * dim_ + d), inverse), V::kLanes);
    }
  }

  void Chunk(int32_t kv, int32_t kv_end) {
    for (int32_t i = 0; i < kSpans; ++i) spans_[i] = next_[i];
    FindSpans(kv + kChunk, kv_end, next_);
    const int32_t first_row = FirstRowThatSees(kv);
    const RowTiles tiles(t_.rows - first_row, kMaxRows);
    for (int32_t i = 0; i < tiles.tiles; ++i) {
      const int32_t row = first_row + tiles.Begin(i);
      const int32_t rows = tiles.Count(i);
      const int32_t shortest = Smaller(kChunk, limit_[row] - kv);
      const int32_t longest = Smaller(kChunk, limit_[row + rows - 1] - kv);
      fetch_keys_ = Share(dim_words_, i, tiles.tiles);
      fetch_values_ = Share(kChunkWords, i, tiles.tiles);
      ScoreRows<kMaxRows>(row, rows, longest);
      for (int32_t r = 0; r < rows; ++r) Softmax(row + r, r, Smaller(kChunk, limit_[row + r] - kv));
      const int32_t common = shortest / E::kPerWord;
      AddValues<kMaxRows>(row, rows, common);
      for (int32_t r = 0; r < rows; ++r) {
        AddLastValues(row + r, r, common, Smaller(kChunk, limit_[row + r] - kv));
      }
    }
  }

  // Where the chunk at `kv` lies; spans at or behind kv_end are left as they are.
  void FindSpans(int32_t kv, int32_t kv_end, KvSpan* spans) const {
    for (int32_t i = 0; i < kSpans && kv + i * kSpan < kv_end; ++i) {
      const int32_t token = kv + i * kSpan;
      const size_t block = t_.blocks[token / t_.block_tokens] * t_.offset_unit;
      const int32_t slot = token % t_.block_tokens;
      spans[i].k = reinterpret_cast<const uint32_t*>(t_.k + block) + slot;
      spans[i].v = reinterpret_cast<const uint32_t*>(t_.v + block) + slot / E::kPerWord * dim_;
    }
  }

  // scores[row][token] = scale * q . k for `tokens` tokens, rounded up to whole vectors.
  template <int kRows>
  void ScoreRows(int32_t row, int32_t rows, int32_t tokens) {
    if constexpr (kRows > 0) {
      if (rows != kRows) return ScoreRows<kRows - 1>(row, rows, tokens);
      int32_t token = 0;
      for (; token + kVecs * V::kLanes <= tokens; token += kVecs * V::kLanes) {
        ScoreTile<kRows, kVecs>(row, token);
      }
      for (; token < tokens; token += V::kLanes) ScoreTile<kRows, 1>(row, token);
    }
  }

  template <int kRows, int kTileVecs>
  void ScoreTile(int32_t row, int32_t token) {
    F32 acc[kRows][kTileVecs];
    const uint32_t* k[kTileVecs];
    for (int j = 0; j < kTileVecs; ++j) {
      const int32_t first = token + j * V::kLanes;
      k[j] = spans_[first / kSpan].k + first % kSpan;
      for (int r = 0; r < kRows; ++r) acc[r][j] = V::Zero();
    }
    const uint32_t* q = s_.q + row * dim_words_;
    for (int32_t word = 0; word < dim_words_; ++word) {
      typename V::Words keys[kTileVecs];
      for (int j = 0; j < kTileVecs; ++j) keys[j] = V::LoadWords(k[j] + word * t_.block_tokens);
      if (fetch_keys_.Has(word)) PrefetchKeys<kTileVecs>(token / kSpan, word);
      for (int r = 0; r < kRows; ++r) {
        const typename V::Words x = V::SetWord(q[r * dim_words_ + word]);
        for (int j = 0; j < kTileVecs; ++j) acc[r][j] = E::Dot(acc[r][j], x, keys[j]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kTileVecs; ++j) {
        V::Store(s_.scores + r * kChunk + token + j * V::kLanes,
                 V::Mul(acc[r][j], V::Set1(t_.scale_log2)));
      }
    }
  }

  // Blocks lie anywhere in memory, so the processor cannot guess the next. While a chunk is worked
  // on, the next one comes in evenly, a line for a line: each tile of rows fetches its share.
  template <int kTileVecs>
  void PrefetchKeys(int32_t span, int32_t word) const {
    if constexpr (V::kLanes == kSpan) {
      for (int j = 0; j < kTileVecs; ++j) {
        __builtin_prefetch(next_[span + j].k + word * t_.block_tokens, 0, kIntoL2);
      }
    }
  }
  template <int kTileVecs>
  void PrefetchValues(int32_t span, int32_t offset) const {
    if constexpr (V::kLanes == kSpan) {
      for (int j = 0; j < kTileVecs; ++j) {
        __builtin_prefetch(next_[span].v + offset + j * V::kLanes, 0, kIntoL2);
      }
    }
  }

  // Turns the scores of row r, the i-th of its tile, into probabilities relative to the running
  // maximum; those behind its `tokens` tokens are 0 up to the end of the vector.
  void Softmax(int32_t r, int32_t i, int32_t tokens) {
    const F32 lowest = V::Set1(-__builtin_inff());
    const float* scores = s_.scores + i * kChunk;
    const int32_t whole = tokens / V::kLanes * V::kLanes;
    F32 max = lowest;
    for (int32_t t = 0; t < whole; t += V::kLanes) max = V::Max(max, V::Load(scores + t));
    if (whole < tokens) {
      max = V::Max(max, V::FirstN(V::Load(scores + whole), tokens - whole, lowest));
    }
    const float old_max = s_.max[r];
    const float new_max = Larger(old_max, V::ReduceMax(max));
    // 2^0 is exactly 1: not to compute it changes nothing.
    const F32 rescale = new_max > old_max ? Exp2<V>(V::Set1(old_max - new_max)) : V::Set1(1.0f);
    F32 sum = V::Mul(V::Load(s_.sum + r * V::kLanes), rescale);
    auto* probs = reinterpret_cast<typename E::Storage*>(s_.probs + i * kChunkWords);
    for (int32_t t = 0; t < whole; t += V::kLanes) {
      const F32 p = Exp2OfFinite<V>(V::Sub(V::Load(scores + t), V::Set1(new_max)));
      sum = V::Add(sum, p);
      E::StoreN(probs + t, p, V::kLanes);
    }
    if (whole < tokens) {
      const F32 all = Exp2OfFinite<V>(V::Sub(V::Load(scores + whole), V::Set1(new_max)));
      const F32 p = V::FirstN(all, tokens - whole, V::Zero());
      sum = V::Add(sum, p);
      E::StoreN(probs + whole, p, V::kLanes);
    }
    V::Store(s_.sum + r * V::kLanes, sum);
    s_.max[r] = new_max;
    s_.rescale[i] = V::Lane0(rescale);
  }

  // out[row] = out[row] * rescale[row] + probs[row] * V over `words` words of tokens.
  template <int kRows>
  void AddValues(int32_t row, int32_t rows, int32_t words) {
    if constexpr (kRows > 0) {
      if (rows != kRows) return AddValues<kRows - 1>(row, rows, words);
      int32_t d = 0;
      for (; d + kVecs * V::kLanes <= dim_; d += kVecs * V::kLanes) {
        ValueTile<kRows, kVecs>(row, d, words);
      }
      for (; d < dim_; d += V::kLanes) ValueTile<kRows, 1>(row, d, words);
    }
  }

  template <int kRows, int kTileVecs>
  void ValueTile(int32_t row, int32_t d, int32_t words) {
    F32 acc[kRows][kTileVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kTileVecs; ++j) {
        acc[r][j] =
            V::Mul(V::Load(s_.out + (row + r) * dim_ + d + j * V::kLanes), V::Set1(s_.rescale[r]));
      }
    }
    const uint32_t* probs = s_.probs;
    constexpr int32_t kSpanWords = kSpan / E::kPerWord;
    for (int32_t begin = 0; begin < words; begin += kSpanWords) {
      const int32_t span = begin / kSpanWords;
      const uint32_t* v = spans_[span].v + d;
      const int32_t end = Smaller(begin + kSpanWords, words);
      for (int32_t word = begin; word < end; ++word, v += dim_) {
        typename V::Words values[kTileVecs];
        if (fetch_values_.Has(word)) {
          PrefetchValues<kTileVecs>(span, (word - begin) * dim_ + d);
        }
        for (int j = 0; j < kTileVecs; ++j) values[j] = V::LoadWords(v + j * V::kLanes);
        for (int r = 0; r < kRows; ++r) {
          const typename V::Words p = V::SetWord(probs[r * kChunkWords + word]);
          for (int j = 0; j < kTileVecs; ++j) acc[r][j] = E::Dot(acc[r][j], p, values[j]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kTileVecs; ++j) {
        V::Store(s_.out + (row + r) * dim_ + d + j * V::kLanes, acc[r][j]);
      }
    }
  }

  // The values row r, the i-th of its tile, sees beyond those that all rows of its tile see: words
  // [begin, tokens) and, of a half-visible last word, only the visible half. What lies behind may
  // be NaN.
  void AddLastValues(int32_t r, int32_t i, int32_t begin, int32_t tokens) {
    constexpr int32_t kSpanWords = kSpan / E::kPerWord;
    const int32_t words = (tokens + E::kPerWord - 1) / E::kPerWord;
    for (int32_t word = begin; word < words; ++word) {
      const uint32_t* v = spans_[word / kSpanWords].v + word % kSpanWords * dim_;
      const bool half = (word + 1) * E::kPerWord > tokens;
      const typename V::Words p = V::SetWord(s_.probs[i * kChunkWords + word]);
      for (int32_t d = 0; d < dim_; d += V::kLanes) {
        const typename V::Words all = V::LoadWords(v + d);
        float* out = s_.out + r * dim_ + d;
        V::Store(out, E::Dot(V::Load(out), p, half ? V::LowHalves(all) : all));
      }
    }
  }

  const AttentionTask& t_;
  AttentionScratch& s_;
  const int32_t dim_;
  const int32_t dim_words_;
  int32_t limit_[kAttentionRows] = {};  // how many KV tokens each row sees
  KvSpan spans_[kSpans] = {};           // of the chunk at hand
  KvSpan next_[kSpans] = {};            // of the chunk behind it
  Range fetch_keys_ = {};               // words of head_dim
  Range fetch_values_ = {};             // words of tokens
};

}  // namespace
}  // namespace quire::kernels
