#include "kernels/cpu/tier/amx_attention.h"
#include "kernels/cpu/tier/amx_tiles.h"
#include "kernels/cpu/tier/attention_in_tiles.h"
#include "kernels/cpu/tier/linear_out.h"
#include "kernels/cpu/tier/quant_linear.h"
#include "kernels/cpu/tier/tier_kernels.h"
#include "kernels/cpu/tier/vec_avx512.h"

// Linear layers and attention to bf16 on AMX's tiles of 16 rows of 64 bytes; everything else is the
// AVX-512 tier's. 16
// words of K of a panel are two tiles, side by side, as the multiplication wants its second
// operand.

namespace quire::kernels {
namespace {

constexpr int kRowTiles = 6;  // of the registers: sums in 0 to 3, rows in 4 and 5
constexpr int64_t kBlockStride = kRowBlockSide * sizeof(uint32_t);
constexpr int64_t kPanelStride = kPanelColumns * sizeof(uint32_t);
constexpr int32_t kPanelBlockWords = kRowBlockSide * kPanelColumns;

// Loads of tiles keep fewer lines on their way from memory than the plain ones do: where reading
// the weights takes the time, this many blocks ahead are asked for (+ 10 %).
constexpr int64_t kBlocksAhead = 3;

// Blocks of rows up to which that is so.
constexpr int32_t kFewRowBlocks = 8;

inline void FetchBlock(const uint32_t* weights) {
  for (int32_t i = 0; i < kPanelBlockWords; i += kRowBlockSide) __builtin_prefetch(weights + i);
}

// Blocks along K whose weights, 16 KiB, stay in the L1 cache while many rows pass over them.
constexpr int64_t kBlocksAtOnce = 8;

// The end of a panel's words, fewer than a block, with zeros behind them.
struct alignas(64) LastBlock {
  uint32_t words[kPanelBlockWords];

  void CopyFrom(const uint32_t* panel, int64_t count) {
    for (int64_t i = 0; i < kPanelBlockWords; i += Avx512::kLanes) {
      const bool valid = i < count * kPanelColumns;
      Avx512::StoreWords(words + i, valid ? Avx512::LoadWords(panel + i) : Avx512::SetWord(0));
    }
    WritesComeFirst();
  }
};

// sums += rows * weights, for a pair of operands in tiles 4 and 5, and 6 and 7.
struct Bf16Products {
  static void Left() { _tile_dpbf16ps(0, 4, 6); }
  static void Right() { _tile_dpbf16ps(1, 4, 7); }
  static void SecondLeft() { _tile_dpbf16ps(2, 5, 6); }
  static void SecondRight() { _tile_dpbf16ps(3, 5, 7); }
};
struct ByteProducts {
  static void Left() { _tile_dpbusd(0, 4, 6); }
  static void Right() { _tile_dpbusd(1, 4, 7); }
  static void SecondLeft() { _tile_dpbusd(2, 5, 6); }
  static void SecondRight() { _tile_dpbusd(3, 5, 7); }
};

// What is multiplied beside the first 16 rows and panel: nothing, 16 rows more with the same panel,
// or the same rows with another panel.
enum class Second { kNone, kRows, kPanel };

struct Operands {
  const uint32_t* rows[2];     // blocks along K
  const uint32_t* weights[2];  // [16 words of each block][32]
  void* sums[2];               // [16][32]
};

template <class Products, Second kSecond, bool kFetch = false>
void Multiply(const Operands& o, int64_t blocks, bool fresh) {
  auto* sums = static_cast<uint32_t*>(o.sums[0]);
  auto* second_sums = static_cast<uint32_t*>(o.sums[1]);
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kPanelStride);
    _tile_loadd(1, sums + kRowBlockSide, kPanelStride);
    if constexpr (kSecond != Second::kNone) {
      _tile_loadd(2, second_sums, kPanelStride);
      _tile_loadd(3, second_sums + kRowBlockSide, kPanelStride);
    }
  }
  for (int64_t block = 0; block < blocks; ++block) {
    const uint32_t* b = o.weights[0] + block * kPanelBlockWords;
    if constexpr (kFetch) {
      const int64_t ahead = (block + kBlocksAhead) * kPanelBlockWords;
      FetchBlock(o.weights[0] + ahead);
      if constexpr (kSecond == Second::kPanel) FetchBlock(o.weights[1] + ahead);
    }
    _tile_loadd(4, o.rows[0] + block * kRowBlockWords, kBlockStride);
    _tile_loadd(6, b, kPanelStride);
    Products::Left();
    _tile_loadd(7, b + kRowBlockSide, kPanelStride);
    Products::Right();
    if constexpr (kSecond == Second::kNone) continue;
    if constexpr (kSecond == Second::kPanel) {
      b = o.weights[1] + block * kPanelBlockWords;
      _tile_loadd(6, b, kPanelStride);
      _tile_loadd(7, b + kRowBlockSide, kPanelStride);
    }
    _tile_loadd(5, o.rows[1] + block * kRowBlockWords, kBlockStride);
    Products::SecondLeft();
    Products::SecondRight();
  }
  _tile_stored(0, sums, kPanelStride);
  _tile_stored(1, sums + kRowBlockSide, kPanelStride);
  if constexpr (kSecond != Second::kNone) {
    _tile_stored(2, second_sums, kPanelStride);
    _tile_stored(3, second_sums + kRowBlockSide, kPanelStride);
  }
}

int32_t RowBlocks(int32_t rows) { return (rows + kRowBlockSide - 1) / kRowBlockSide; }
int64_t WordBlocks(int64_t words) { return (words + kRowBlockSide - 1) / kRowBlockSide; }

// Every output is one accumulator that takes the blocks of K in order.
class DenseTiles {
 public:
  static void Run(const LinearTask& task, LinearScratch* scratch) {
    const TilesInUse tiles(kRowTiles, task.rows);
    DenseTiles dense(task, *scratch);
    int64_t panel = task.panel_begin;
    if (dense.row_blocks_ == 1) {
      for (; panel + 2 <= task.panel_end; panel += 2) dense.FewRows<Second::kPanel>(panel);
      if (panel < task.panel_end) dense.FewRows<Second::kNone>(panel);
      return;
    }
    const int64_t together = dense.WeightsAreTheLimit() ? 1 : kMaxLinearPanels;
    for (; panel < task.panel_end; panel += together) {
      dense.ManyRows(panel, Smaller(panel + together, task.panel_end));
    }
  }

 private:
  using V = Avx512;

  DenseTiles(const LinearTask& task, LinearScratch& scratch)
      : t_(task),
        s_(scratch),
        row_blocks_(RowBlocks(task.rows)),
        row_block_words_(WordBlocks(task.words) * kRowBlockWords),
        whole_blocks_(task.words / kRowBlockSide),
        rest_(task.words % kRowBlockSide) {}

  const uint32_t* Weights(int64_t panel, int64_t block) const {
    return t_.panels + panel * t_.words * kPanelColumns + block * kPanelBlockWords;
  }

  template <Second kSecond>
  void FewRows(int64_t panel) {
    constexpr int kPanels = kSecond == Second::kPanel ? 2 : 1;
    const auto add = [this](const uint32_t* first, const uint32_t* second, int64_t block,
                            int64_t blocks) {
      const uint32_t* rows = t_.a + block * kRowBlockWords;
      const Operands o = {{rows, rows}, {first, second}, {s_.sums[0], s_.sums[1]}};
      Multiply<Bf16Products, kSecond, true>(o, blocks, block == 0);
    };
    if (whole_blocks_ > 0) add(Weights(panel, 0), Weights(panel + 1, 0), 0, whole_blocks_);
    if (rest_ > 0) {
      LastBlock last[2];
      for (int p = 0; p < kPanels; ++p) last[p].CopyFrom(Weights(panel + p, whole_blocks_), rest_);
      add(last[0].words, last[1].words, whole_blocks_, 1);
    }
    for (int p = 0; p < kPanels; ++p) Store(panel + p, s_.sums[p]);
  }

  // A slice of the rows serves all panels before the next one does.
  void ManyRows(int64_t begin, int64_t end) {
    for (int64_t block = 0; block < whole_blocks_; block += kBlocksAtOnce) {
      const int64_t blocks = Smaller(kBlocksAtOnce, whole_blocks_ - block);
      for (int64_t panel = begin; panel < end; ++panel) {
        const uint32_t* next =
            panel + 1 < end ? Weights(panel + 1, block) : Weights(begin, block + blocks);
        AddSlice(Weights(panel, block), next, block, blocks, s_.sums[panel - begin]);
      }
    }
    for (int64_t panel = begin; panel < end; ++panel) {
      if (rest_ > 0) {
        LastBlock last;
        last.CopyFrom(Weights(panel, whole_blocks_), rest_);
        AddSlice(last.words, last.words, whole_blocks_, 1, s_.sums[panel - begin]);
      }
      Store(panel, s_.sums[panel - begin]);
    }
  }

  bool WeightsAreTheLimit() const { return row_blocks_ <= kFewRowBlocks; }

  // While the rows pass over a slice of a panel, the next one comes in: evenly, or with the first
  // rows where those that follow take less time than reading it.
  void AddSlice(const uint32_t* weights, const uint32_t* next, int64_t block, int64_t blocks,
                float (*sums)[kPanelColumns]) {
    const int64_t lines = blocks * kPanelBlockWords / kRowBlockSide;
    const uint32_t* rows = t_.a + block * kRowBlockWords;
    for (int32_t r = 0; r < row_blocks_; r += 2, rows += 2 * row_block_words_) {
      const int64_t fetched = Smaller<int64_t>(lines * (r + 2) / row_blocks_, lines);
      for (int64_t line = lines * r / row_blocks_; line < fetched && !WeightsAreTheLimit();
           ++line) {
        __builtin_prefetch(next + line * kRowBlockSide);
      }
      float(*out)[kPanelColumns] = sums + r * kRowBlockSide;
      const Operands o = {
          {rows, rows + row_block_words_}, {weights, weights}, {out, out + kRowBlockSide}};
      if (r == 0 && WeightsAreTheLimit()) {
        Multiply<Bf16Products, Second::kRows, true>(o, blocks, block == 0);
      } else if (r + 1 < row_blocks_) {
        Multiply<Bf16Products, Second::kRows>(o, blocks, block == 0);
      } else {
        Multiply<Bf16Products, Second::kNone>(o, blocks, block == 0);
      }
    }
  }

  void Store(int64_t panel, const float (*sums)[kPanelColumns]) const {
    for (int32_t row = 0; row < t_.rows; ++row) {
      for (int32_t i = 0; i < kPanelColumns; i += V::kLanes) {
        StoreLinear<V>(t_, row, panel * kPanelColumns + i, V::Load(sums[row] + i));
      }
    }
  }

  const LinearTask& t_;
  LinearScratch& s_;
  const int32_t row_blocks_;
  const int64_t row_block_words_;
  const int64_t whole_blocks_;
  const int64_t rest_;
};

// Sums are exact within a segment, so the bits are those of QuantLinearKernel.
class QuantTiles {
 public:
  static void Run(const QuantLinearTask& task, QuantScratch& scratch) {
    const TilesInUse tiles(kRowTiles, task.rows);
    for (int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
      QuantTiles(task, scratch).RunPanel(panel);
    }
  }

 private:
  using V = Avx512;
  using Products = int32_t[2 * kRowBlockSide][kPanelColumns];

  QuantTiles(const QuantLinearTask& task, QuantScratch& scratch)
      : t_(task), s_(scratch), segments_(QuantSegments(task)) {}

  void RunPanel(int64_t panel) {
    const int64_t sums = int64_t{t_.rows} * kPanelColumns;
    for (int64_t i = 0; i < sums; i += V::kLanes) V::Store(s_.sums + i, V::Zero());
    for (int64_t segment = 0; segment < segments_; ++segment) {
      const int64_t begin = segment * kQuantSegmentWords;
      const auto words =
          static_cast<int32_t>(Smaller<int64_t>(t_.words - begin, kQuantSegmentWords));
      const uint32_t* weights = QuantWeights<V>(t_, panel, begin, words, s_.weights);
      WritesComeFirst();
      RunSegment(weights, words, segment,
                 t_.offsets + (panel * segments_ + segment) * kPanelColumns);
    }
    FinishQuant<V, 1>(t_, panel, s_.sums);
  }

  void RunSegment(const uint32_t* weights, int32_t words, int64_t segment, const int32_t* offsets) {
    const int64_t row_block_words = WordBlocks(t_.words) * kRowBlockWords;
    const int64_t whole = words / kRowBlockSide;
    LastBlock last;
    if (words % kRowBlockSide != 0) {
      last.CopyFrom(weights + whole * kPanelBlockWords, words % kRowBlockSide);
    }
    const uint32_t* rows = t_.a + segment * (kQuantSegmentWords / kRowBlockSide) * kRowBlockWords;
    // Those of 4 bits have just been unpacked.
    const bool fetch = t_.group_scales == nullptr && RowBlocks(t_.rows) <= kFewRowBlocks;
    for (int32_t row = 0; row < t_.rows; row += 2 * kRowBlockSide, rows += 2 * row_block_words) {
      alignas(64) Products products;
      const bool pair = row + kRowBlockSide < t_.rows;
      auto* multiply =
          pair ? Multiply<ByteProducts, Second::kRows> : Multiply<ByteProducts, Second::kNone>;
      if (row == 0 && fetch) {
        multiply = pair ? Multiply<ByteProducts, Second::kRows, true>
                        : Multiply<ByteProducts, Second::kNone, true>;
      }
      Operands o = {
          {rows, rows + row_block_words}, {weights, weights}, {products, products + kRowBlockSide}};
      if (whole > 0) multiply(o, whole, true);
      if (words % kRowBlockSide != 0) {
        o.rows[0] += whole * kRowBlockWords;
        o.rows[1] += whole * kRowBlockWords;
        o.weights[0] = last.words;
        multiply(o, 1, whole == 0);
      }
      const int32_t end = Smaller(row + 2 * kRowBlockSide, t_.rows);
      for (int32_t r = row; r < end; ++r) AddRow(products[r - row], offsets, r, segment);
    }
  }

  void AddRow(const int32_t* products, const int32_t* offsets, int32_t row, int64_t segment) {
    const V::F32 scale = V::Set1(t_.a_scales[row * segments_ + segment]);
    float* sums = s_.sums + int64_t{row} * kPanelColumns;
    for (int32_t i = 0; i < kPanelColumns; i += V::kLanes) {
      const V::I32 exact = V::AddI32(V::LoadI32(products + i), V::LoadI32(offsets + i));
      V::Store(sums + i, V::MulAdd(V::ToF32(exact), scale, V::Load(sums + i)));
    }
  }

  const QuantLinearTask& t_;
  QuantScratch& s_;
  const int64_t segments_;
};

void Attention(const AttentionTask& task, AttentionScratch& scratch) {
  if (task.head_dim % AmxKv::kTileTokens != 0) {
    return Avx512Bf16Kernels().bf16.attention(task, scratch);
  }
  const TilesInUse tiles(AmxKv::kRowTiles, kRowBlockSide);
  AttentionKernel<Bf16Element<Avx512>, AmxKv, kRowBlockSide, 4>::Run(task, scratch);
}

}  // namespace

const TierKernels& AmxKernels() {
  static const TierKernels kernels = [] {
    TierKernels k = Avx512Bf16Kernels();
    k.bf16.linear = DenseTiles::Run;
    k.bf16.linear_rows = RowPacking::kBlocks;
    k.bf16.attention = Attention;
    k.quant_linear_blocks = QuantTiles::Run;
    return k;
  }();
  return kernels;
}

}  // namespace quire::kernels
