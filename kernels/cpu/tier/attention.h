#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/row_tiles.h"
#include "kernels/cpu/tier/tier_kernels.h"

// Causal attention over paged KV (FlashAttention-2, Dao 2023, on packed query heads). The running
// (max, sum, out) of a row restarts at every multiple of kSplitTokens tokens, the KV inside a split
// is taken in chunks at multiples of kAttentionChunk, and no masked position takes part in any sum:
// so a row's bits depend on its own position, query and KV alone. With a window a row leaves out
// the splits and chunks that lie before it.

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

  // The first row of the query token at `position` or of a later one.
  int32_t FirstRowFrom(int64_t position) const {
    const int64_t row = (position - t_.first_position) * t_.q_per_group - t_.row_begin;
    return static_cast<int32_t>(Smaller<int64_t>(t_.rows, Larger<int64_t>(0, row)));
  }
  // The rows that see any of the tokens [begin, end): those that come neither before all of them
  // nor so late that their windows lie behind them.
  Range RowsThatSee(int32_t begin, int32_t end) const {
    const int32_t last = t_.window == 0 ? t_.rows : FirstRowFrom(int64_t{end} + t_.window - 1);
    return {FirstRowFrom(begin), last};
  }
  // The tokens of the chunk at `kv` that row r sees.
  Range TokensSeen(int32_t r, int32_t kv) const {
    return {Larger(0, first_[r] - kv), Smaller(kChunk, limit_[r] - kv)};
  }
  int64_t RowOffset(int32_t r) const {
    const int32_t row = t_.row_begin + r;
    const int64_t token = row / t_.q_per_group;
    return (token * t_.num_heads + row % t_.q_per_group) * dim_;
  }

  void AllSplits() {
    for (int32_t r = 0; r < t_.rows; ++r) {
      limit_[r] = t_.first_position + (t_.row_begin + r) / t_.q_per_group + 1;
      first_[r] = t_.window == 0 ? 0 : Larger(0, limit_[r] - t_.window);
      __builtin_memcpy(s_.q + r * dim_words_,
                       t_.q + RowOffset(r) * static_cast<int64_t>(sizeof(typename E::Storage)),
                       static_cast<size_t>(dim_words_) * 4);
    }
    const int32_t kv_end = limit_[t_.rows - 1];
    const int32_t first_chunk = first_[0] / kChunk * kChunk;
    FindSpans(first_chunk, kv_end, next_);
    for (int32_t split = first_[0] / kSplitTokens * kSplitTokens; split < kv_end;
         split += kSplitTokens) {
      const Range rows = RowsThatSee(split, split + kSplitTokens);
      Restart(rows);
      const int32_t split_end = Smaller(split + kSplitTokens, kv_end);
      for (int32_t kv = Larger(split, first_chunk); kv < split_end; kv += kChunk) Chunk(kv, kv_end);
      Merge(rows, split);
    }
    for (int32_t r = 0; r < t_.rows; ++r) StoreOut(r);
  }

  void Restart(Range rows) {
    for (int32_t r = rows.begin; r < rows.end; ++r) {
      s_.max[r] = -__builtin_inff();
      V::Store(s_.sum + r * V::kLanes, V::Zero());
      for (int32_t d = 0; d < dim_; d += V::kLanes) V::Store(s_.out + r * dim_ + d, V::Zero());
    }
  }

  void Merge(Range rows, int32_t split) {
    for (int32_t r = rows.begin; r < rows.end; ++r) {
      const bool first_split = first_[r] >= split;
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
    const Range seeing = RowsThatSee(kv, kv + kChunk);
    const RowTiles tiles(seeing.end - seeing.begin, kMaxRows);
    for (int32_t i = 0; i < tiles.tiles; ++i) {
      const int32_t row = seeing.begin + tiles.Begin(i);
      const int32_t rows = tiles.Count(i);
      const Range first = TokensSeen(row, kv);
      const Range last = TokensSeen(row + rows - 1, kv);
      fetch_keys_ = Share(dim_words_, i, tiles.tiles);
      fetch_values_ = Share(kChunkWords, i, tiles.tiles);
      const Range any = {first.begin / V::kLanes * V::kLanes, last.end};
      ScoreRows<kMaxRows>(row, rows, any);
      if (t_.cap_log2 > 0) CapScores(rows, any);
      for (int32_t r = 0; r < rows; ++r) Softmax(row + r, r, TokensSeen(row + r, kv));
      AddAllValues(row, rows, kv, {WordsUpTo(last.begin), first.end / E::kPerWord});
    }
  }

  static int32_t WordsUpTo(int32_t tokens) { return (tokens + E::kPerWord - 1) / E::kPerWord; }

  // A row's values come in order of their tokens, whichever rows share its tile: what it sees
  // before the words that are common to the tile, those, and what it sees after them.
  void AddAllValues(int32_t row, int32_t rows, int32_t kv, Range common) {
    if (common.begin > 0) {
      for (int32_t r = 0; r < rows; ++r) {
        const Range seen = TokensSeen(row + r, kv);
        RescaleOut(row + r, r);
        const int32_t end = Smaller(common.begin, WordsUpTo(seen.end));
        AddEdgeValues(row + r, r, {seen.begin / E::kPerWord, end}, seen);
      }
    }
    AddValues<kMaxRows>(row, rows, common);
    for (int32_t r = 0; r < rows; ++r) {
      const Range seen = TokensSeen(row + r, kv);
      AddEdgeValues(row + r, r, {Larger(common.begin, common.end), WordsUpTo(seen.end)}, seen);
    }
  }

  // Where the chunk at `kv` lies; spans at or behind kv_end are left as they are. Those before all
  // windows may lead anywhere, but nothing is read through them.
  void FindSpans(int32_t kv, int32_t kv_end, KvSpan* spans) const {
    for (int32_t i = 0; i < kSpans && kv + i * kSpan < kv_end; ++i) {
      const int32_t token = kv + i * kSpan;
      const size_t block = t_.blocks[token / t_.block_tokens] * t_.offset_unit;
      const int32_t slot = token % t_.block_tokens;
      spans[i].k = reinterpret_cast<const uint32_t*>(t_.k + block) + slot;
      spans[i].v = reinterpret_cast<const uint32_t*>(t_.v + block) + slot / E::kPerWord * dim_;
    }
  }

  // scores[row][token] = scale * q . k for `tokens`, rounded up to whole vectors.
  template <int kRows>
  void ScoreRows(int32_t row, int32_t rows, Range tokens) {
    if constexpr (kRows > 0) {
      if (rows != kRows) return ScoreRows<kRows - 1>(row, rows, tokens);
      int32_t token = tokens.begin;
      for (; token + kVecs * V::kLanes <= tokens.end; token += kVecs * V::kLanes) {
        ScoreTile<kRows, kVecs>(row, token);
      }
      for (; token < tokens.end; token += V::kLanes) ScoreTile<kRows, 1>(row, token);
    }
  }

  void CapScores(int32_t rows, Range tokens) {
    for (int32_t i = 0; i < rows; ++i) {
      float* scores = s_.scores + i * kChunk;
      for (int32_t t = tokens.begin; t < tokens.end; t += V::kLanes) {
        V::Store(scores + t, V::Mul(Tanh<V>(V::Load(scores + t)), V::Set1(t_.cap_log2)));
      }
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
                 V::Mul(acc[r][j], V::Set1(t_.score_scale)));
      }
    }
  }

  // Blocks lie anywhere in memory, so the processor cannot guess the next. While a chunk is worked
  // on, the next one comes in evenly, a line for a line: each tile of rows fetches its share.
  template <int kTileVecs>
  void PrefetchKeys(int32_t span, int32_t word) const {
    for (int i = 0; i < kTileVecs * V::kLanes / kSpan; ++i) {
      __builtin_prefetch(next_[span + i].k + word * t_.block_tokens, 0, kIntoL2);
    }
  }
  template <int kTileVecs>
  void PrefetchValues(int32_t span, int32_t offset) const {
    for (int i = 0; i < kTileVecs * V::kLanes / kSpan; ++i) {
      __builtin_prefetch(next_[span].v + offset + i * kSpan, 0, kIntoL2);
    }
  }

  // x, the vector of tokens from t on, with `rest` in the lanes of tokens that are not seen.
  static F32 SeenLanes(F32 x, int32_t t, Range seen, F32 rest) {
    const F32 head = V::FirstN(x, Smaller(seen.end - t, V::kLanes), rest);
    return t < seen.begin ? V::FirstN(rest, seen.begin - t, head) : head;
  }

  // Turns the scores of row r, the i-th of its tile, into probabilities relative to the running
  // maximum; in the vectors in which the tokens `seen` begin and end, those of the others are 0.
  void Softmax(int32_t r, int32_t i, Range seen) {
    const F32 lowest = V::Set1(-__builtin_inff());
    const float* scores = s_.scores + i * kChunk;
    const int32_t first = seen.begin / V::kLanes * V::kLanes;
    const int32_t begin = seen.begin > first ? first + V::kLanes : first;
    const int32_t end = seen.end / V::kLanes * V::kLanes;
    const bool cut_begin = seen.begin > first;
    const bool cut_end = end < seen.end && end >= begin;  // a vector cut at both ends is the first
    F32 max = lowest;
    if (cut_begin) max = V::Max(max, SeenLanes(V::Load(scores + first), first, seen, lowest));
    for (int32_t t = begin; t < end; t += V::kLanes) max = V::Max(max, V::Load(scores + t));
    if (cut_end) max = V::Max(max, SeenLanes(V::Load(scores + end), end, seen, lowest));
    const float old_max = s_.max[r];
    const float new_max = Larger(old_max, V::ReduceMax(max));
    // 2^0 is exactly 1: not to compute it changes nothing.
    const F32 rescale = new_max > old_max ? Exp2<V>(V::Set1(old_max - new_max)) : V::Set1(1.0f);
    F32 sum = V::Mul(V::Load(s_.sum + r * V::kLanes), rescale);
    auto* probs = reinterpret_cast<typename E::Storage*>(s_.probs + i * kChunkWords);
    const auto cut = [&](int32_t t) {
      const F32 all = Exp2OfFinite<V>(V::Sub(V::Load(scores + t), V::Set1(new_max)));
      const F32 p = SeenLanes(all, t, seen, V::Zero());
      sum = V::Add(sum, p);
      E::StoreN(probs + t, p, V::kLanes);
    };
    if (cut_begin) cut(first);
    for (int32_t t = begin; t < end; t += V::kLanes) {
      const F32 p = Exp2OfFinite<V>(V::Sub(V::Load(scores + t), V::Set1(new_max)));
      sum = V::Add(sum, p);
      E::StoreN(probs + t, p, V::kLanes);
    }
    if (cut_end) cut(end);
    V::Store(s_.sum + r * V::kLanes, sum);
    s_.max[r] = new_max;
    s_.rescale[i] = V::Lane0(rescale);
  }

  // out[row] = out[row] * rescale[row], once for a chunk: the scale becomes 1.
  void RescaleOut(int32_t r, int32_t i) {
    for (int32_t d = 0; d < dim_; d += V::kLanes) {
      float* out = s_.out + r * dim_ + d;
      V::Store(out, V::Mul(V::Load(out), V::Set1(s_.rescale[i])));
    }
    s_.rescale[i] = 1;
  }

  // out[row] = out[row] * rescale[row] + probs[row] * V over these words of tokens.
  template <int kRows>
  void AddValues(int32_t row, int32_t rows, Range words) {
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
  void ValueTile(int32_t row, int32_t d, Range words) {
    F32 acc[kRows][kTileVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kTileVecs; ++j) {
        acc[r][j] =
            V::Mul(V::Load(s_.out + (row + r) * dim_ + d + j * V::kLanes), V::Set1(s_.rescale[r]));
      }
    }
    const uint32_t* probs = s_.probs;
    constexpr int32_t kSpanWords = kSpan / E::kPerWord;
    for (int32_t word = words.begin; word < words.end;) {
      const int32_t span = word / kSpanWords;
      const int32_t begin = span * kSpanWords;
      const uint32_t* v = spans_[span].v + (word - begin) * dim_ + d;
      const int32_t end = Smaller(begin + kSpanWords, words.end);
      for (; word < end; ++word, v += dim_) {
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

  // Words of values that row r, the i-th of its tile, sees, but not all rows of its tile; of a word
  // that is half visible, only that half. What is not seen may be NaN.
  void AddEdgeValues(int32_t r, int32_t i, Range words, Range seen) {
    constexpr int32_t kSpanWords = kSpan / E::kPerWord;
    for (int32_t word = words.begin; word < words.end; ++word) {
      const uint32_t* v = spans_[word / kSpanWords].v + word % kSpanWords * dim_;
      const bool no_low = word * E::kPerWord < seen.begin;
      const bool no_high = (word + 1) * E::kPerWord > seen.end;
      const typename V::Words p = V::SetWord(s_.probs[i * kChunkWords + word]);
      for (int32_t d = 0; d < dim_; d += V::kLanes) {
        typename V::Words values = V::LoadWords(v + d);
        if (no_high) values = V::LowHalves(values);
        if (no_low) values = V::HighHalves(values);
        float* out = s_.out + r * dim_ + d;
        V::Store(out, E::Dot(V::Load(out), p, values));
      }
    }
  }

  const AttentionTask& t_;
  AttentionScratch& s_;
  const int32_t dim_;
  const int32_t dim_words_;
  int32_t limit_[kAttentionRows] = {};  // each row sees the KV tokens [first_, limit_)
  int32_t first_[kAttentionRows] = {};
  KvSpan spans_[kSpans] = {};  // of the chunk at hand
  KvSpan next_[kSpans] = {};   // of the chunk behind it
  Range fetch_keys_ = {};      // words of head_dim
  Range fetch_values_ = {};    // words of tokens
};

}  // namespace
}  // namespace quire::kernels
