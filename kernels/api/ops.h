#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/api/device.h"
#include "kernels/api/views.h"

// The operations a decoder step is made of. Each call enqueues work on the device's stream.
// T = counts->tokens, R = counts->logit_rows, H = query heads, G = KV groups, D = head_dim.
// "act" is the activation type of the run: f32 when the weights compute in f32, else bf16.
// All matrices are row-major and dense.
//
// Batch invariance: row t of every result depends on row t of the input (and, in attention, on the
// KV of its own sequence) alone, bit for bit, whatever else is in the batch.

namespace quire::kernels {

// Attention works on whole vectors of a head: D is a multiple of the unit, at most the maximum.
inline constexpr int32_t kHeadDimUnit = 16;
inline constexpr int32_t kMaxHeadDim = 256;

// out = scale * row of the table
struct EmbedParams {
  const BatchView* batch = nullptr;
  const PackedWeights* table = nullptr;    // [vocab, width]
  const SampledToken* previous = nullptr;  // sampled by the step before; for negative ids
  float scale = 1;
  float* out = nullptr;  // [T, width] the residual stream
};

// out = x / sqrt(mean(x^2) + eps) * weight   (Zhang and Sennrich, 2019)
struct RmsNormParams {
  const BatchView* batch = nullptr;
  const float* x = nullptr;       // [T, width], or the rows in batch->logit_rows of it
  const float* weight = nullptr;  // [width]
  float eps = 0;
  int32_t width = 0;
  DType act = DType::kBF16;
  bool logit_rows_only = false;  // normalise and gather only the rows that need logits
  void* out = nullptr;           // act [T, width] or [R, width]
};

// residual += x / sqrt(mean(x^2) + eps) * weight: a norm behind a block instead of before it.
struct AddRmsNormParams {
  const BatchView* batch = nullptr;
  const float* x = nullptr;       // [T, width] what the block made
  const float* weight = nullptr;  // [width]
  float eps = 0;
  int32_t width = 0;
  float* residual = nullptr;  // [T, width]
};

// out = in * weights^T (+ bias) (+ out): the places for adapters and fused tails come here.
struct LinearParams {
  const int32_t* rows = nullptr;  // device memory: how many rows of `in` are valid
  int32_t max_rows = 0;
  const void* in = nullptr;  // act [rows, K]
  DType act = DType::kBF16;
  const PackedWeights* weights = nullptr;  // [N, K]
  const float* bias = nullptr;             // [N] or null
  bool accumulate = false;                 // add to `out` (the residual stream)
  float* out = nullptr;                    // f32 [rows, N]
};

// Normalises every head of Q and K (where there are weights for it; Henry et al., 2020), rotates
// the first elements of each (rotate-half form; Su et al., 2021), writes K and V of every token
// into the token's block and leaves Q for the attention.
struct RopeWriteKvParams {
  const BatchView* batch = nullptr;
  const float* qkv = nullptr;     // [T, (H + 2G) * D]: all Q heads, then K, then V
  const float* q_norm = nullptr;  // [D], RMSNorm of a head; or null
  const float* k_norm = nullptr;  // [D]; null like q_norm
  float norm_eps = 0;
  int32_t rotary_dim = 0;          // elements of a head that rotate: even, at most D; 0: none
  const float* cos_sin = nullptr;  // [max positions, rotary_dim]: half cosines, then half sines
  int32_t num_heads = 0;
  KvLayerView kv;
  DType act = DType::kBF16;
  void* q_out = nullptr;  // act [T, H, D]
};

// Causal attention of every query token to the KV of its own sequence up to itself. Query head h
// reads KV group h / (H / G); a group's K and V are read once for all its query heads.
// (m, l, O) restart at absolute multiples of kAttentionSplit and merge in order.
// With a window, the token at position p sees the positions in (p - window, p]. A block that lies
// behind the windows of all of its sequence's query tokens is not read: its table entry may be
// anything.
struct PagedAttentionParams {
  const BatchView* batch = nullptr;
  const void* q = nullptr;  // act [T, H, D]
  int32_t num_heads = 0;
  float scale = 0;     // of the scores, usually 1 / sqrt(D)
  float softcap = 0;   // > 0: a score s becomes softcap * tanh(s / softcap); 0: off
  int32_t window = 0;  // 0: all positions up to the token's own
  KvLayerView kv;
  DType act = DType::kBF16;
  void* out = nullptr;  // act [T, H, D]
};

// Tokens of KV after which attention restarts its running softmax. Every block size divides it.
inline constexpr int32_t kAttentionSplit = 512;

// out = f(gate) * up
struct GateMulParams {
  const BatchView* batch = nullptr;
  GateKind kind = GateKind::kSilu;
  const float* gate_up = nullptr;  // [T, 2 * width]: gate, then up
  int32_t width = 0;
  DType act = DType::kBF16;
  void* out = nullptr;  // act [T, width]
};

// logits = cap * tanh(logits / cap), in place
struct SoftCapParams {
  const BatchView* batch = nullptr;
  float* logits = nullptr;  // [R, vocab]
  int32_t vocab = 0;
  float cap = 0;  // > 0
};

// Draws a token, or scores a known one, for each row of logits: see SamplingRow.
struct SampleParams {
  const BatchView* batch = nullptr;
  const float* logits = nullptr;  // [R, vocab]
  int32_t vocab = 0;
  const SamplingRow* rows = nullptr;  // [R]
  // What the rows point into: ids seen so far, changes of logits, the only ids allowed.
  const int32_t* history = nullptr;
  const LogitEdit* edits = nullptr;
  const int32_t* allowed = nullptr;
  // Sampled by the step before; for rows with a history_row. Such a row fails where that one did.
  const SampledToken* previous = nullptr;
  SampledToken* out = nullptr;           // [R]
  TokenLogprob* alternatives = nullptr;  // [R, max_alternatives], falling; for rows that want some
  int32_t max_alternatives = 0;
};

// Layers with attention, as far as the cut into work items depends on them.
struct AttentionLayer {
  int32_t num_heads = 0;
  int32_t kv_groups = 0;
  int32_t head_dim = 0;
  int32_t window = 0;
  DType act = DType::kBF16;
  DType kv = DType::kBF16;
};

// What steps will be made of.
struct PrepareParams {
  BatchCapacity capacity;
  const AttentionLayer* attention = nullptr;  // [num_attention] every shape at least once
  int32_t num_attention = 0;
  int32_t vocab = 0;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // Once, before the first step: sets the memory aside that steps share, so that they allocate
  // nothing. A device may refuse a second model (InvalidArgument).
  virtual DeviceStatus Prepare(const PrepareParams& params) = 0;
  // Device memory that Prepare has set aside.
  virtual size_t WorkBytes() const { return 0; }

  // Once a step, before its other operations and after the batch's numbers are in place: checks
  // them and prepares what all layers share (such as the cut of the attention into work items).
  virtual void BeginStep(const BatchView& batch, const BatchHostView& host) = 0;
  virtual void Embed(const EmbedParams& params) = 0;
  virtual void RmsNorm(const RmsNormParams& params) = 0;
  virtual void AddRmsNorm(const AddRmsNormParams& params) = 0;
  virtual void Linear(const LinearParams& params) = 0;
  virtual void RopeWriteKv(const RopeWriteKvParams& params) = 0;
  virtual void PagedAttention(const PagedAttentionParams& params) = 0;
  virtual void GateMul(const GateMulParams& params) = 0;
  virtual void SoftCap(const SoftCapParams& params) = 0;
  virtual void Sample(const SampleParams& params) = 0;
};

}  // namespace quire::kernels
