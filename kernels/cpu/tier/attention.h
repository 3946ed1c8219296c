#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/kv_element.h"
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

template <class Word>
struct KvSpan {
  const Word* k;  // words [head_dim words][block_tokens], at this span's first token
  const Word* v;  // words [span tokens / kPerWord][head_dim]
  // Of its tokens, where there are any.
  const float* k_scales;
  const float* v_scales;
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

// E is the type of Q and of the result, Kv that of K and V. kMaxRows rows by kVecs vectors fill the
// registers.
template <class E, class Kv, int kMaxRows, int kVecs>
class AttentionKernel {
  using V = typename E::Vec;
  using F32 = typename V::F32;
  using Span = KvSpan<typename Kv::Word>;
  static_assert(kMaxRows <= kMaxTileRows);
  static constexpr int32_t kChunk = kAttentionChunk;
  static constexpr int32_t kChunkWords = kAttentionChunk / Kv::kPerWord;

 public:
  static void Run(const AttentionTask& task, AttentionScratch& scratch) {
    AttentionKernel(task, scratch).AllSplits();
  }

 private:
  AttentionKernel(const AttentionTask& task, AttentionScratch& scratch)
      : t_(task), s_(scratch), dim_(task.head_dim), dim_words_(task.head_dim / Kv::kPerWord) {}

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
    const int32_t head = group_ * t_.q_per_group + row % t_.q_per_group;
    return (token * t_.num_heads + head) * dim_;
  }

  void AllSplits() {
    for (int32_t r = 0; r < t_.rows; ++r) {
      limit_[r] = t_.first_position + (t_.row_begin + r) / t_.q_per_group + 1;
      first_[r] = t_.window == 0 ? 0 : Larger(0, limit_[r] - t_.window);
    }
    ForGroups([this] {
      for (int32_t r = 0; r < t_.rows; ++r) {
        const auto* q = reinterpret_cast<const typename E::Storage*>(t_.q) + RowOffset(r);
        q_scale_[r] = t_.score_scale * Kv::template LoadQuery<E>(q, dim_, q_ + r * dim_words_);
      }
    });
    const int32_t first_split = first_[0] / kSplitTokens * kSplitTokens;
    const int32_t kv_end = limit_[t_.rows - 1];
    const bool some = t_.part == AttentionPart::kSplits;
    const int32_t begin = some ? Larger(first_split, t_.split_begin) : first_split;
    const int32_t end = some ? Smaller(kv_end, t_.split_end) : kv_end;
    if (t_.part != AttentionPart::kMerge) {
      FindSpans(Larger(begin, first_[0] / kChunk * kChunk), kv_end, next_chunk_);
    }
    for (int32_t split = begin; split < end; split += kSplitTokens) {
      const Range rows = RowsThatSee(split, split + kSplitTokens);
      const int32_t index = (split - first_split) / kSplitTokens;
      if (t_.part != AttentionPart::kMerge) AddSplit(rows, split, kv_end);
      ForGroups([&] {
        if (t_.part == AttentionPart::kMerge) LoadPartial(rows, index);
        if (some) {
          StorePartial(rows, index);
        } else {
          Merge(rows, split);
        }
      });
    }
    if (some) return;
    ForGroups([this] {
      for (int32_t r = 0; r < t_.rows; ++r) StoreOut(r);
    });
  }

  // The group whose rows and values are meant from now on.
  void UseGroup(int32_t group) {
    group_ = group;
    const int32_t row = group * t_.rows;
    q_ = s_.q + row * dim_words_;
    q_scale_ = s_.q_scale + row;
    out_ = s_.out + row * dim_;
    merged_ = s_.merged + row * dim_;
    sum_ = s_.sum + row * V::kLanes;
    max_ = s_.max + row;
    merged_sum_ = s_.merged_sum + row;
    merged_max_ = s_.merged_max + row;
  }
  template <class Body>
  void ForGroups(Body&& body) {
    for (int32_t group = 0; group < t_.groups; ++group) {
      UseGroup(group);
      body();
    }
  }

  void AddSplit(Range rows, int32_t split, int32_t kv_end) {
    ForGroups([&] { Restart(rows); });
    const int32_t split_end = Smaller(split + kSplitTokens, kv_end);
    const int32_t first_chunk = first_[0] / kChunk * kChunk;
    for (int32_t kv = Larger(split, first_chunk); kv < split_end; kv += kChunk) Chunk(kv, kv_end);
  }

  // Where a tile is cut into pieces, how splits are merged, where a chunk lies: attention_splits.h.
  float* Partial(int32_t split) const;
  void StorePartial(Range rows, int32_t split) const;
  void LoadPartial(Range rows, int32_t split);
  void Restart(Range rows);
  void Merge(Range rows, int32_t split);
  void StoreOut(int32_t r);

  // Groups come one after the other, so that blocks, which have all of them, are read in one go.
  void Chunk(int32_t kv, int32_t kv_end) {
    for (int32_t i = 0; i < kSpans; ++i) chunk_[i] = next_chunk_[i];
    FindSpans(kv + kChunk, kv_end, next_chunk_);
    for (int32_t group = 0; group < t_.groups; ++group) {
      UseGroup(group);
      const bool last = group + 1 == t_.groups;
      for (int32_t i = 0; i < kSpans; ++i) {
        spans_[i] = OfGroup(chunk_[i], group);
        next_[i] = last ? next_chunk_[i] : OfGroup(chunk_[i], group + 1);
      }
      GroupChunk(kv, kv_end);
    }
  }

  void FindSpans(int32_t kv, int32_t kv_end, Span* spans) const;
  Span OfGroup(Span span, int32_t group) const;

  void GroupChunk(int32_t kv, int32_t kv_end) {
    const Range seeing = RowsThatSee(kv, kv + kChunk);
    const RowTiles tiles(seeing.end - seeing.begin, kMaxRows);
    if constexpr (Kv::kInTiles) GatherValues(kv, kv_end);
    for (int32_t i = 0; i < tiles.tiles; ++i) {
      const int32_t row = seeing.begin + tiles.Begin(i);
      const int32_t rows = tiles.Count(i);
      const Range first = TokensSeen(row, kv);
      const Range last = TokensSeen(row + rows - 1, kv);
      fetch_keys_ = Share(dim_words_, i, tiles.tiles);
      fetch_values_ = Share(kChunkWords, i, tiles.tiles);
      const Range any = {first.begin / V::kLanes * V::kLanes, last.end};
      if constexpr (Kv::kInTiles) {
        ScoreInTiles(row, rows, any, i == 0);
      } else {
        ScoreRows<kMaxRows>(row, rows, any);
      }
      if (t_.cap_log2 > 0) CapScores(rows, any);
      for (int32_t r = 0; r < rows; ++r) Softmax(row + r, r, TokensSeen(row + r, kv));
      if constexpr (Kv::kScaled) {
        AddExactValues(row, rows, kv);
      } else if constexpr (Kv::kInTiles) {
        AddTiledValues(row, rows, kv, i == 0);
      } else {
        AddOrderedValues(row, rows, kv, {WordsUpTo(last.begin), first.end / Kv::kPerWord});
      }
    }
  }

  static int32_t WordsUpTo(int32_t tokens) { return (tokens + Kv::kPerWord - 1) / Kv::kPerWord; }

  // A sum of integers is the same in any order, and what a row does not see adds nothing to it: so
  // the tile takes all words that any of its rows sees.
  void AddExactValues(int32_t row, int32_t rows, int32_t kv) {
    const Range any = {TokensSeen(row, kv).begin / Kv::kPerWord,
                       WordsUpTo(TokensSeen(row + rows - 1, kv).end)};
    for (int32_t i = 0; i < rows; ++i) {
      const Range seen = TokensSeen(row + i, kv);
      s_.p_scale[i] = Kv::QuantizeProbs(s_.scores + i * kChunk, seen.begin / V::kLanes * V::kLanes,
                                        (seen.end + V::kLanes - 1) / V::kLanes * V::kLanes, kChunk,
                                        s_.probs + i * kChunkWords);
    }
    AddValues<kMaxRows>(row, rows, any);
  }

  // A row's values come in order of their tokens, whichever rows share its tile: what it sees
  // before the words that are common to the tile, those, and what it sees after them.
  void AddOrderedValues(int32_t row, int32_t rows, int32_t kv, Range common) {
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

  // Where products are made in tiles: see attention_in_tiles.h.
  void ScoreInTiles(int32_t row, int32_t rows, Range tokens, bool fetch);
  void GatherValues(int32_t kv, int32_t kv_end);
  void AddTiledValues(int32_t row, int32_t rows, int32_t kv, bool fetch);
  void AddPieces(int32_t row, int32_t rows, int32_t kv, Range any, Range common, bool fetch);
  static Range PiecesSeen(Range tokens) {
    return {(tokens.begin + Kv::kTileTokens - 1) / Kv::kTileTokens, tokens.end / Kv::kTileTokens};
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
    typename Kv::Sum acc[kRows][kTileVecs];
    const typename Kv::Word* k[kTileVecs];
    for (int j = 0; j < kTileVecs; ++j) {
      const int32_t first = token + j * V::kLanes;
      k[j] = spans_[first / kSpan].k + first % kSpan;
      for (int r = 0; r < kRows; ++r) acc[r][j] = Kv::Zero();
    }
    const uint32_t* q = q_ + row * dim_words_;
    for (int32_t word = 0; word < dim_words_; ++word) {
      typename V::Words keys[kTileVecs];
      for (int j = 0; j < kTileVecs; ++j) keys[j] = Kv::LoadWords(k[j] + word * t_.block_tokens);
      if (fetch_keys_.Has(word)) PrefetchKeys<kTileVecs>(token / kSpan, word);
      for (int r = 0; r < kRows; ++r) {
        const typename V::Words x = V::SetWord(q[r * dim_words_ + word]);
        for (int j = 0; j < kTileVecs; ++j) acc[r][j] = Kv::Dot(acc[r][j], x, keys[j]);
      }
    }
    for (int j = 0; j < kTileVecs; ++j) {
      const int32_t first = token + j * V::kLanes;
      for (int r = 0; r < kRows; ++r) {
        F32 score = V::Mul(Kv::ToF32(acc[r][j]), V::Set1(q_scale_[row + r]));
        if constexpr (Kv::kScaled) {
          score = V::Mul(score, V::Load(spans_[first / kSpan].k_scales + first % kSpan));
        }
        V::Store(s_.scores + r * kChunk + first, score);
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
    const float old_max = max_[r];
    const float new_max = Larger(old_max, V::ReduceMax(max));
    // 2^0 is exactly 1: not to compute it changes nothing.
    const F32 rescale = new_max > old_max ? Exp2<V>(V::Set1(old_max - new_max)) : V::Set1(1.0f);
    F32 sum = V::Mul(V::Load(sum_ + r * V::kLanes), rescale);
    const auto cut = [&](int32_t t) {
      const F32 all = Exp2OfFinite<V>(V::Sub(V::Load(scores + t), V::Set1(new_max)));
      sum = V::Add(sum, SeenLanes(all, t, seen, V::Zero()));
      StoreProbs(i, t, SeenLanes(Weighted(all, t), t, seen, V::Zero()));
    };
    if (cut_begin) cut(first);
    for (int32_t t = begin; t < end; t += V::kLanes) {
      const F32 p = Exp2OfFinite<V>(V::Sub(V::Load(scores + t), V::Set1(new_max)));
      sum = V::Add(sum, p);
      StoreProbs(i, t, Weighted(p, t));
    }
    if (cut_end) cut(end);
    V::Store(sum_ + r * V::kLanes, sum);
    max_[r] = new_max;
    s_.rescale[i] = V::Lane0(rescale);
  }

  // The factors of the values of the tokens from t on.
  F32 Weighted(F32 p, int32_t t) const {
    if constexpr (!Kv::kScaled) return p;
    return V::Mul(p, V::Load(spans_[t / kSpan].v_scales + t % kSpan));
  }
  // As the words that multiply values; where values have scales, in place of the scores until
  // QuantizeProbs.
  void StoreProbs(int32_t i, int32_t t, F32 p) {
    if constexpr (Kv::kScaled) {
      V::Store(s_.scores + i * kChunk + t, p);
    } else {
      auto* probs = reinterpret_cast<typename E::Storage*>(s_.probs + i * kChunkWords);
      E::StoreN(probs + t, p, V::kLanes);
    }
  }

  // out[row] = out[row] * rescale[row], once for a chunk: the scale becomes 1.
  void RescaleOut(int32_t r, int32_t i) {
    for (int32_t d = 0; d < dim_; d += V::kLanes) {
      float* out = out_ + r * dim_ + d;
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
    typename Kv::Sum acc[kRows][kTileVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kTileVecs; ++j) {
        if constexpr (Kv::kScaled) {
          acc[r][j] = Kv::Zero();
        } else {
          acc[r][j] = RescaledOut(row, r, d + j * V::kLanes);
        }
      }
    }
    const uint32_t* probs = s_.probs;
    constexpr int32_t kSpanWords = kSpan / Kv::kPerWord;
    for (int32_t word = words.begin; word < words.end;) {
      const int32_t span = word / kSpanWords;
      const int32_t begin = span * kSpanWords;
      const typename Kv::Word* v = spans_[span].v + (word - begin) * dim_ + d;
      const int32_t end = Smaller(begin + kSpanWords, words.end);
      for (; word < end; ++word, v += dim_) {
        typename V::Words values[kTileVecs];
        if (fetch_values_.Has(word)) {
          PrefetchValues<kTileVecs>(span, (word - begin) * dim_ + d);
        }
        for (int j = 0; j < kTileVecs; ++j) values[j] = Kv::LoadWords(v + j * V::kLanes);
        for (int r = 0; r < kRows; ++r) {
          const typename V::Words p = V::SetWord(probs[r * kChunkWords + word]);
          for (int j = 0; j < kTileVecs; ++j) acc[r][j] = Kv::Dot(acc[r][j], p, values[j]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int j = 0; j < kTileVecs; ++j) {
        const int32_t at = d + j * V::kLanes;
        F32 out = Kv::ToF32(acc[r][j]);
        if constexpr (Kv::kScaled) {
          out = V::MulAdd(out, V::Set1(s_.p_scale[r]), RescaledOut(row, r, at));
        }
        V::Store(out_ + (row + r) * dim_ + at, out);
      }
    }
  }
  F32 RescaledOut(int32_t row, int32_t i, int32_t d) const {
    return V::Mul(V::Load(out_ + (row + i) * dim_ + d), V::Set1(s_.rescale[i]));
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
        float* out = out_ + r * dim_ + d;
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
  int32_t group_ = 0;  // of the task's, the one at hand; what follows is of that one
  uint32_t* q_ = nullptr;
  float* q_scale_ = nullptr;
  float* out_ = nullptr;
  float* merged_ = nullptr;
  float* sum_ = nullptr;
  float* max_ = nullptr;
  float* merged_sum_ = nullptr;
  float* merged_max_ = nullptr;
  Span chunk_[kSpans] = {};       // of the chunk at hand, in the task's first group
  Span next_chunk_[kSpans] = {};  // of the chunk behind it
  Span spans_[kSpans] = {};       // of the chunk at hand
  Span next_[kSpans] = {};        // of what comes after it: another group's, or the next chunk
  Range fetch_keys_ = {};         // words of head_dim
  Range fetch_values_ = {};       // words of tokens
  // In tiles: the values of each kTileTokens of the chunk at hand.
  const typename Kv::Word* values_[kSpans] = {};
};

}  // namespace
}  // namespace quire::kernels

#include "kernels/cpu/tier/attention_splits.h"
