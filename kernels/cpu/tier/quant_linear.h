#pragma once

#include "kernels/cpu/tier/element.h"
#include "kernels/cpu/tier/linear_out.h"
#include "kernels/cpu/tier/row_tiles.h"
#include "kernels/cpu/tier/tier_kernels.h"

// out = a * weights^T with integer weights and activations. What a row's scale is for is a segment
// of K, so that one large activation does not blur the others (after Dettmers et al., 2022). Sums
// within a segment are exact, and segments are added in order: a row depends on no other.

namespace quire::kernels {
namespace {

// 127 steps from 0 to the largest element of each segment.
template <class E>
void QuantizeRow(const void* x, int64_t width, int64_t words, uint8_t* out, float* scales) {
  using V = typename E::Vec;
  const auto* from = static_cast<const typename E::Storage*>(x);
  for (int64_t begin = 0; begin < width; begin += kQuantSegment) {
    const int64_t end = Smaller<int64_t>(begin + kQuantSegment, width);
    typename V::F32 largest = V::Zero();
    typename V::F32 poison = V::Zero();  // NaN from any element that is not finite
    for (int64_t i = begin; i < end; i += V::kLanes) {
      const int n = static_cast<int>(Smaller<int64_t>(end - i, V::kLanes));
      const typename V::F32 v = E::LoadN(from + i, n);
      largest = V::Max(V::Abs(v), largest);
      poison = V::Add(poison, V::Mul(v, V::Zero()));
    }
    const float most = V::ReduceMax(largest);
    // Too small to invert: as good as zero.
    const float inverse = most > 1e-30f ? 127.0f / most : 0.0f;
    *scales++ = most / 127.0f + V::ReduceAdd(poison);
    for (int64_t i = begin; i < end; i += V::kLanes) {
      const int n = static_cast<int>(Smaller<int64_t>(end - i, V::kLanes));
      const typename V::F32 scaled = V::Mul(E::LoadN(from + i, n), V::Set1(inverse));
      V::StoreBytesN(out + i, V::Round(V::Max(scaled, V::Set1(-127.0f))), n);
    }
  }
  for (int64_t i = width; i < words * 4; ++i) out[i] = 128;
}

// A segment of a panel of 4-bit weights as bytes [words][32]. A group's scale byte is m + 16 s: its
// weights are (q - 8 + s) * m.
template <class V>
void UnpackSegment(const uint32_t* nibbles, const uint8_t* group_scales, int32_t words,
                   uint32_t* out) {
  constexpr int32_t kHalf = kPanelColumns / 2;
  struct Scale {
    typename V::Words factor;  // in both halves of a word
    typename V::Words zero;    // in all of its bytes
    explicit Scale(const uint8_t* bytes) {
      const typename V::Words byte = V::LoadBytes(bytes);
      const typename V::Words m = V::And(byte, V::SetWord(15));
      factor = V::Or(m, V::template ShiftLeft<16>(m));
      // 8 m, or 7 m.
      const typename V::Words sign = V::template ShiftRight<4>(byte);
      const typename V::Words zero_byte =
          V::SubBytes(V::template ShiftLeft<3>(m), V::MulHalves(m, sign));
      const typename V::Words half = V::Or(zero_byte, V::template ShiftLeft<8>(zero_byte));
      zero = V::Or(half, V::template ShiftLeft<16>(half));
    }
    typename V::Words Apply(typename V::Words quants) const {
      return V::SubBytes(V::MulHalves(quants, factor), zero);
    }
  };
  constexpr int32_t kWordsAhead = 64;  // to prefetch
  const typename V::Words low_nibbles = V::SetWord(0x0f0f0f0f);
  for (int32_t word = 0; word < words; group_scales += kPanelColumns) {
    const int32_t end = word + kQuantGroupWords;
    for (int32_t lane = 0; lane < kHalf; lane += V::kLanes) {
      const Scale low(group_scales + lane);
      const Scale high(group_scales + kHalf + lane);
      for (int32_t w = word; w < end; ++w) {
        const uint32_t* from = nibbles + w * kHalf + lane;
        __builtin_prefetch(from + kWordsAhead * kHalf);
        const typename V::Words both = V::LoadWords(from);
        const typename V::Words upper = V::template ShiftRight<4>(both);
        uint32_t* to = out + w * kPanelColumns + lane;
        V::StoreWords(to, low.Apply(V::And(both, low_nibbles)));
        V::StoreWords(to + kHalf, high.Apply(V::And(upper, low_nibbles)));
      }
    }
    word = end;
  }
}

inline int64_t QuantSegments(const QuantLinearTask& task) {
  return (task.words + kQuantSegmentWords - 1) / kQuantSegmentWords;
}

// Bytes [words][32] of a panel, from word `begin` on.
template <class V>
const uint32_t* QuantWeights(const QuantLinearTask& task, int64_t panel, int64_t begin,
                             int32_t words, uint32_t* room) {
  const int64_t first_word = panel * task.words + begin;
  if (task.group_scales == nullptr) return task.panels + first_word * kPanelColumns;
  UnpackSegment<V>(task.panels + first_word * (kPanelColumns / 2),
                   task.group_scales + first_word / kQuantGroupWords * kPanelColumns, words, room);
  return room;
}

// From sums [rows][kPanels * 32] to the output.
template <class V, int kPanels>
void FinishQuant(const QuantLinearTask& task, int64_t panel, const float* sums) {
  for (int32_t row = 0; row < task.rows; ++row) {
    for (int32_t i = 0; i < kPanels * kPanelColumns; i += V::kLanes, sums += V::kLanes) {
      const int64_t n = panel * kPanelColumns + i;
      StoreLinear<V>(task, row, n, V::Mul(V::Load(sums), V::Load(task.column_scales + n)));
    }
  }
}

// 4-bit weights times few rows, without unpacking them: products of (q - 8 + s) are added up over a
// group and multiplied with its factor at the end. Integers all the way, so the same bits.
template <class V, int kRows>
class FewRowsOfNibbles {
 public:
  static void Run(const QuantLinearTask& task, int64_t panel) {
    const int64_t segments = QuantSegments(task);
    alignas(64) float sums[kRows * kPanelColumns];
    for (int32_t i = 0; i < kRows * kPanelColumns; i += V::kLanes) V::Store(sums + i, V::Zero());
    for (int64_t segment = 0; segment < segments; ++segment) {
      const int64_t begin = segment * kQuantSegmentWords;
      const auto words =
          static_cast<int32_t>(Smaller<int64_t>(task.words - begin, kQuantSegmentWords));
      const int64_t first_word = panel * task.words + begin;
      const uint32_t* nibbles = task.panels + first_word * kHalf;
      const uint8_t* scales = task.group_scales + first_word / kQuantGroupWords * kPanelColumns;
      const int32_t* offsets = task.offsets + (panel * segments + segment) * kPanelColumns;
      for (int32_t lane = 0; lane < kHalf; lane += V::kLanes) {
        AddSegment(task.a + begin * kRows, nibbles + lane, scales + lane, words, offsets + lane,
                   task.a_scales + segment, segments, sums + lane);
      }
    }
    FinishQuant<V, 1>(task, panel, sums);
  }

 private:
  static constexpr int32_t kHalf = kPanelColumns / 2;
  static constexpr int32_t kWordsAhead = 64;  // to prefetch

  // A group's factor, and what is taken from each of its nibbles: 8 - s in all bytes.
  struct Scale {
    typename V::I32 factor;
    typename V::Words zero;
    explicit Scale(const uint8_t* bytes) {
      const typename V::Words byte = V::LoadBytes(bytes);
      factor = V::AsI32(V::And(byte, V::SetWord(15)));
      const typename V::Words one = V::SubBytes(V::SetWord(8), V::template ShiftRight<4>(byte));
      const typename V::Words two = V::Or(one, V::template ShiftLeft<8>(one));
      zero = V::Or(two, V::template ShiftLeft<16>(two));
    }
  };

  // Of the columns at `nibbles` and half a panel behind.
  static void AddSegment(const uint32_t* a, const uint32_t* nibbles, const uint8_t* scales,
                         int32_t words, const int32_t* offsets, const float* a_scales,
                         int64_t a_stride, float* sums) {
    const typename V::Words low_nibbles = V::SetWord(0x0f0f0f0f);
    typename V::I32 acc[kRows][2];
    for (int r = 0; r < kRows; ++r) {
      acc[r][0] = V::LoadI32(offsets);
      acc[r][1] = V::LoadI32(offsets + kHalf);
    }
    for (int32_t word = 0; word < words; scales += kPanelColumns) {
      const Scale low(scales);
      const Scale high(scales + kHalf);
      typename V::I32 group[kRows][2];
      for (auto& row : group) row[0] = row[1] = V::ZeroI32();
      for (const int32_t end = word + kQuantGroupWords; word < end; ++word, a += kRows) {
        const uint32_t* from = nibbles + word * kHalf;
        __builtin_prefetch(from + kWordsAhead * kHalf);
        const typename V::Words both = V::LoadWords(from);
        const typename V::Words lower = V::SubBytes(V::And(both, low_nibbles), low.zero);
        const typename V::Words upper =
            V::SubBytes(V::And(V::template ShiftRight<4>(both), low_nibbles), high.zero);
        for (int r = 0; r < kRows; ++r) {
          const typename V::Words x = V::SetWord(a[r]);
          group[r][0] = V::DotBytes(group[r][0], x, lower);
          group[r][1] = V::DotBytes(group[r][1], x, upper);
        }
      }
      for (int r = 0; r < kRows; ++r) {
        acc[r][0] = V::AddI32(acc[r][0], V::MulI32(group[r][0], low.factor));
        acc[r][1] = V::AddI32(acc[r][1], V::MulI32(group[r][1], high.factor));
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const typename V::F32 scale = V::Set1(a_scales[r * a_stride]);
      for (int half = 0; half < 2; ++half) {
        float* sum = sums + r * kPanelColumns + half * kHalf;
        V::Store(sum, V::MulAdd(V::ToF32(acc[r][half]), scale, V::Load(sum)));
      }
    }
  }
};

template <class V, int kMaxRows, int kVecs>
class QuantLinearKernel {
 public:
  static void Run(const QuantLinearTask& task, QuantScratch& scratch) {
    int64_t panel = task.panel_begin;
    if (task.group_scales != nullptr && task.rows <= kMostRowsOfNibbles) {
      return RunNibbles<kMostRowsOfNibbles>(task);
    }
    if (task.rows <= kMaxRows / 4) {
      for (; panel + 4 <= task.panel_end; panel += 4) RunPanels<4>(task, panel, scratch);
    } else if (task.rows <= kMaxRows / 2) {
      for (; panel + 2 <= task.panel_end; panel += 2) RunPanels<2>(task, panel, scratch);
    }
    for (; panel < task.panel_end; ++panel) RunPanels<1>(task, panel, scratch);
  }

 private:
  // More rows would use unpacked weights often enough.
  static constexpr int kMostRowsOfNibbles = 4;

  template <int kRows>
  static void RunNibbles(const QuantLinearTask& task) {
    if constexpr (kRows > 0) {
      if (task.rows != kRows) return RunNibbles<kRows - 1>(task);
      for (int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
        FewRowsOfNibbles<V, kRows>::Run(task, panel);
      }
    }
  }

  template <int kPanels>
  static void RunPanels(const QuantLinearTask& task, int64_t panel, QuantScratch& scratch) {
    const int64_t segments = QuantSegments(task);
    const int64_t sums = static_cast<int64_t>(task.rows) * kPanels * kPanelColumns;
    for (int64_t i = 0; i < sums; i += V::kLanes) V::Store(scratch.sums + i, V::Zero());
    for (int64_t segment = 0; segment < segments; ++segment) {
      const int64_t begin = segment * kQuantSegmentWords;
      const auto words =
          static_cast<int32_t>(Smaller<int64_t>(task.words - begin, kQuantSegmentWords));
      Segment<kPanels> s{};
      s.words = words;
      for (int p = 0; p < kPanels; ++p) {
        s.weights[p] = QuantWeights<V>(task, panel + p, begin, words,
                                       scratch.weights + p * kQuantSegmentWords * kPanelColumns);
        s.offsets[p] = task.offsets + ((panel + p) * segments + segment) * kPanelColumns;
      }
      if constexpr (kPanels == 1) s.fetch.from = Ahead(task, panel, segment);
      RunSegment<kPanels>(task, s, segment, scratch.sums);
    }
    FinishQuant<V, kPanels>(task, panel, scratch.sums);
  }

  // Where several tiles share a segment, memory would rest while all but the first find it in the
  // cache: so each fetches its part of one that comes so much later. For one tile the processor's
  // own prefetching is faster.
  static constexpr int64_t kSegmentsAhead = 4;
  static const uint32_t* Ahead(const QuantLinearTask& task, int64_t panel, int64_t segment) {
    const int64_t word = panel * task.words + (segment + kSegmentsAhead) * kQuantSegmentWords;
    return task.panels + word * WordsStored(task);
  }
  // For a word of all of a panel's columns.
  static int64_t WordsStored(const QuantLinearTask& task) {
    return task.group_scales == nullptr ? kPanelColumns : kPanelColumns / 2;
  }

  template <int kPanels>
  struct Segment {
    const uint32_t* weights[kPanels];
    const int32_t* offsets[kPanels];
    int32_t words;
    WeightFetch fetch;  // of each tile
  };

  template <int kPanels>
  static void RunSegment(const QuantLinearTask& task, Segment<kPanels>& segment, int64_t index,
                         float* sums) {
    const RowTiles tiles(task.rows, kMaxRows);
    const int64_t segments = QuantSegments(task);
    const int64_t runs = int64_t{tiles.tiles} * kPanelColumns / (kVecs * V::kLanes);
    if (kPanels == 1 && tiles.tiles > 1) {
      segment.fetch.lines = (kQuantSegmentWords * WordsStored(task) / kLineWords + runs - 1) / runs;
    }
    for (int32_t column = 0; column < kPanelColumns; column += kVecs * V::kLanes) {
      for (int32_t tile = 0; tile < tiles.tiles; ++tile) {
        const int32_t row = tiles.Begin(tile);
        const int32_t rows = tiles.Count(tile);
        const uint32_t* a = task.a + row * task.words + index * kQuantSegmentWords * rows;
        RunTile<kPanels, kMaxRows / kPanels>(rows, a, task.a_scales + row * segments + index,
                                             segments, segment, column,
                                             sums + row * kPanels * kPanelColumns);
        if constexpr (kPanels == 1) segment.fetch.from += segment.fetch.lines * kLineWords;
      }
    }
  }

  // From a row count known at run time to one known to the compiler.
  template <int kPanels, int kRows>
  static void RunTile(int32_t rows, const uint32_t* a, const float* scales, int64_t scale_stride,
                      const Segment<kPanels>& segment, int32_t column, float* sums) {
    if constexpr (kRows > 0) {
      if (rows != kRows) {
        return RunTile<kPanels, kRows - 1>(rows, a, scales, scale_stride, segment, column, sums);
      }
      Tile<kPanels, kRows>(a, scales, scale_stride, segment, column, sums);
    }
  }

  template <int kPanels, int kRows>
  static void Tile(const uint32_t* a, const float* scales, int64_t scale_stride,
                   const Segment<kPanels>& segment, int32_t column, float* sums) {
    constexpr int kColumns = kPanels * kVecs;
    typename V::I32 acc[kRows][kColumns];
    const uint32_t* b[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      b[p] = segment.weights[p] + column;
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) {
          acc[r][p * kVecs + v] = V::LoadI32(segment.offsets[p] + column + v * V::kLanes);
        }
      }
    }
    for (int32_t word = 0; word < segment.words; ++word, a += kRows) {
      if constexpr (kPanels == 1) {
        const WeightFetch& fetch = segment.fetch;
        for (int64_t line = word; line < fetch.lines; line += segment.words) {
          __builtin_prefetch(fetch.from + line * kLineWords, 0, kIntoL2);
        }
      }
      typename V::Words weights[kColumns];
      for (int j = 0; j < kColumns; ++j) {
        weights[j] = V::LoadWords(b[j / kVecs] + word * kPanelColumns + (j % kVecs) * V::kLanes);
      }
      for (int r = 0; r < kRows; ++r) {
        const typename V::Words x = V::SetWord(a[r]);
        for (int j = 0; j < kColumns; ++j) acc[r][j] = V::DotBytes(acc[r][j], x, weights[j]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const typename V::F32 scale = V::Set1(scales[r * scale_stride]);
      for (int j = 0; j < kColumns; ++j) {
        float* sum =
            sums + (r * kPanels + j / kVecs) * kPanelColumns + column + (j % kVecs) * V::kLanes;
        V::Store(sum, V::MulAdd(V::ToF32(acc[r][j]), scale, V::Load(sum)));
      }
    }
  }
};

}  // namespace
}  // namespace quire::kernels
