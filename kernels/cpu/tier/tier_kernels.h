#pragma once

#include <cstddef>
#include <cstdint>

// What the operations ask of a tier: leaf computations on plain pointers, each on one thread and
// without a look at the clock, the heap or the other threads.
//
// Tier code is compiled for one instruction set, so it must not emit a function that the linker
// could pick for other callers too: tier headers keep everything in an unnamed namespace, and
// nothing here or there calls an inline function of the standard library or of kernels/api.
//
// Weights, queries, keys, values and probabilities all travel as 32-bit *words*: one f32, or two
// consecutive bf16 (the earlier one in the low half). That makes one kernel of two.

namespace quire::kernels {

inline constexpr int32_t kPanelColumns = 32;

// How the rows of activations lie that are multiplied together.
enum class RowPacking : uint8_t {
  kTiles,  // tiles of rows, see RowTiles; a tile is [words][rows of the tile]
  // [ceil(rows / 16)][ceil(words / 16)][16 rows][16 words], padded with zeros; where there is but
  // one block of rows, those that it lacks are not read.
  kBlocks,
};

inline constexpr int32_t kRowBlockSide = 16;  // of a block: rows, and words
inline constexpr int32_t kRowBlockWords = kRowBlockSide * kRowBlockSide;

// Rows multiplied in one go: few enough for the packed activations to stay in the caches while
// every panel passes over them (512 rows of 8192 were a sixth slower in tiles), and enough for
// arithmetic, not reading the weights again, to be the limit. Blocks are faster, and passed over by
// slices of K. A multiple of every tile's height.
inline constexpr int32_t kTiledLinearRows = 192;
inline constexpr int32_t kMaxLinearRows = 512;
inline constexpr int32_t kMaxLinearPanels = 4;  // that are summed up side by side

// One worker's working memory for it.
struct alignas(64) LinearScratch {
  float sums[kMaxLinearPanels][kMaxLinearRows][kPanelColumns];
};

// rows x [panel_begin, panel_end) of out = a * weights^T (+ bias) (+ out).
struct LinearTask {
  const uint32_t* a;       // in the packing that the kernel asks for
  int32_t rows;            // at most kMaxLinearRows
  const uint32_t* panels;  // [ceil(columns / 32)][words][32]
  int64_t words;           // along K
  int64_t columns;         // N, and the row stride of out
  int64_t panel_begin;
  int64_t panel_end;
  const float* bias;
  bool accumulate;
  float* out;
};

// Integer weights: elements of K are taken kQuantSegment at a time, for each of which a row of the
// activations has a scale; within one everything is exact in int32.
inline constexpr int32_t kQuantSegment = 256;
inline constexpr int32_t kQuantSegmentWords = kQuantSegment / 4;
inline constexpr int32_t kQuantGroup = 32;  // elements of K that share a scale of 4-bit weights
inline constexpr int32_t kQuantGroupWords = kQuantGroup / 4;
inline constexpr int32_t kMaxQuantPanels = 4;

// The same product with weights of 8 or 4 bits. A word is four elements of one byte each.
struct QuantLinearTask {
  const uint32_t* a;            // as in LinearTask, of elements plus 128
  const float* a_scales;        // [rows][segments]
  int32_t rows;                 // at most kMaxLinearRows
  const uint32_t* panels;       // 8 bits: [panels][words][32]; 4 bits: [panels][words][16], where
                                // the low nibbles are columns 0 to 15 and the high ones the rest
  const uint8_t* group_scales;  // 4 bits: [panels][groups][32], see CpuPackedWeights; 8 bits: null
  const int32_t* offsets;       // [panels][segments][32]: -128 * the sum of the segment's weights
  const float* column_scales;   // [panels][32]
  int64_t words;                // along K: whole groups
  int64_t columns;              // N, and the row stride of out
  int64_t panel_begin;
  int64_t panel_end;
  const float* bias;
  bool accumulate;
  float* out;
};

// One worker's working memory for it.
static_assert(kMaxLinearRows <= kTiledLinearRows * kMaxQuantPanels);
struct alignas(64) QuantScratch {
  uint32_t weights[kMaxQuantPanels * kQuantSegmentWords * kPanelColumns];
  float sums[kTiledLinearRows * kMaxQuantPanels * kPanelColumns];
};

// A long sequence's attention is shared out by splits: tasks leave what their splits came to, and
// one more merges it, in the order and with the bits of a task that does the whole.
enum class AttentionPart : uint8_t { kWhole, kSplits, kMerge };

// Attention of rows [row_begin, row_begin + rows) of one sequence in some KV groups that follow
// each other; row r of a group is query token r / q_per_group and head r % q_per_group of the
// group.
struct AttentionTask {
  // act; row r of the first group at ((r / q_per_group) * num_heads + r % q_per_group) * head_dim
  const std::byte* q;
  std::byte* out;  // the same places
  int32_t num_heads;
  int32_t q_per_group;
  int32_t head_dim;
  int32_t row_begin;
  int32_t rows;  // of each group; of all together at most kAttentionRows
  int32_t groups;
  int32_t first_position;  // of the sequence's first query token
  int32_t window;          // row r sees this many tokens up to its own; 0: all of them
  float score_scale;       // of q . k: makes scores in units of log2(e), or of the cap where
  float cap_log2;          // this, cap * log2(e), is not 0
  const uint32_t* blocks;  // the sequence's block table, in units of offset_unit bytes
  size_t offset_unit;
  const std::byte* k;  // K and V tile of the first group in a block at offset 0
  const std::byte* v;
  size_t group_stride;        // bytes from a tile to the next group's
  const std::byte* k_scales;  // of integers: those of the first group in a block at offset 0
  const std::byte* v_scales;
  int32_t block_tokens;
  AttentionPart part;
  int32_t split_begin;  // kSplits: tokens, multiples of kSplitTokens
  int32_t split_end;
  // Of all splits that a row of the task sees: [splits][groups][rows][head_dim + 2], where the last
  // two are the sum and the maximum.
  float* partials;
};

inline constexpr int32_t kAttentionRows = 64;
inline constexpr int32_t kSplitTokens = 512;     // kAttentionSplit of kernels/api
inline constexpr int32_t kAttentionChunk = 128;  // tokens of KV between two rescalings
inline constexpr int32_t kTierHeadDim = 256;     // kMaxHeadDim of kernels/api
inline constexpr int32_t kMaxLanes = 16;
inline constexpr int32_t kMaxTileRows = 16;

// One worker's working memory for attention.
struct alignas(64) AttentionScratch {
  uint32_t q[kAttentionRows * kTierHeadDim];
  float scores[kMaxTileRows * kAttentionChunk];  // of a tile of rows
  uint32_t probs[kMaxTileRows * kAttentionChunk];
  uint32_t tile_probs[kMaxTileRows * kAttentionChunk / 2];  // AMX
  uint32_t values[kAttentionChunk / 2 * kTierHeadDim];      // AMX: of a chunk
  float rescale[kMaxTileRows];
  float p_scale[kMaxTileRows];
  float q_scale[kAttentionRows];
  float out[kAttentionRows * kTierHeadDim];     // of the running split
  float merged[kAttentionRows * kTierHeadDim];  // of the splits before it
  float sum[kAttentionRows * kMaxLanes];
  float max[kAttentionRows];
  float merged_sum[kAttentionRows];
  float merged_max[kAttentionRows];
};

// One token's heads: normalise and rotate Q and K, store Q, K and V.
struct RopeTask {
  const float* qkv;
  const float* q_norm;  // [head_dim], or both null
  const float* k_norm;
  float norm_eps;
  int32_t rotary_dim;
  const float* cos_sin;  // rotary_dim / 2 cosines, then as many sines
  std::byte* q_out;      // act [num_heads, head_dim]
  std::byte* k;          // this token's block: K tile of group 0, V tile of group 0
  std::byte* v;
  float* scales;  // of integers: this token's of K and group 0; [K, V][kv_groups][block_tokens]
  size_t tile_bytes;
  int32_t num_heads;
  int32_t kv_groups;
  int32_t head_dim;
  int32_t block_tokens;
  int32_t slot;
};

// The kernels of one element type.
struct ElementKernels {
  void (*linear)(const LinearTask& task, LinearScratch* scratch);  // null where rows are in tiles
  RowPacking linear_rows;
  // A row for QuantLinearTask::a: `words` bytes of four, what lies behind `width` being 0, and the
  // scale of each segment, NaN where an element is not finite.
  void (*quantize)(const void* x, int64_t width, int64_t words, uint8_t* out, float* scales);
  void (*attention)(const AttentionTask& task, AttentionScratch& scratch);
  void (*rope)(const RopeTask& task);
  void (*attention_int8)(const AttentionTask& task, AttentionScratch& scratch);  // KV in int8
  void (*rope_int8)(const RopeTask& task);
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t width, void* out);
  void (*silu_mul)(const float* gate, const float* up, int64_t width, void* out);
  void (*gelu_tanh_mul)(const float* gate, const float* up, int64_t width, void* out);
};

struct LogitsRange {
  float max;
  bool has_nan;
};

// Vocabulary reductions add up this many ids at a time, then the partial sums in order.
inline constexpr int64_t kVocabBlock = 512;

struct TierKernels {
  int32_t tile_rows;  // most rows of a tile, in RowPacking::kTiles
  ElementKernels f32;
  ElementKernels bf16;
  void (*quant_linear)(const QuantLinearTask& task, QuantScratch& scratch);
  // The same bits from rows in blocks, for many rows; null: the tier has none.
  void (*quant_linear_blocks)(const QuantLinearTask& task, QuantScratch& scratch);

  void (*add_rms_norm)(const float* x, const float* weight, float eps, int64_t width,
                       float* residual);
  void (*soft_cap)(float* x, int64_t n, float cap);
  LogitsRange (*logits_range)(const float* x, int64_t n);
  int64_t (*find_first)(const float* x, int64_t n, float value);  // n when there is none
  // weights[i] = exp2((x[i] - max) * scale_log2), the largest of which is exactly 1; block_sums
  // [ceil(n / kVocabBlock)]. `weights` may be null.
  void (*exp_weights)(const float* x, int64_t n, float max, float scale_log2, float* weights,
                      double* block_sums);
};

const TierKernels& PortableKernels();
// Only on processors that support them:
const TierKernels& Avx2Kernels();
const TierKernels& Avx512Bf16Kernels();
const TierKernels& AmxKernels();

}  // namespace quire::kernels
