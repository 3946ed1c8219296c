#include <cmath>

#include "core/model/rope_table.h"
#include "core/model/transformer_runner.h"
#include "kernels/api/float_convert.h"

// The decoder itself: which operation follows which.

namespace quire {

using kernels::BatchView;
using kernels::DeviceBuffer;
using kernels::KvLayerView;
using kernels::SampledToken;

namespace {

// Gemma multiplies in the model's own type, to which it rounds the factor first.
float EmbeddingScale(const ModelConfig& config, kernels::DType act) {
  if (!config.scale_embeddings) return 1;
  const float scale = std::sqrt(static_cast<float>(config.hidden_size));
  if (act == kernels::DType::kF32) return scale;
  return kernels::Bf16ToFloat(kernels::FloatToBf16(scale));
}

float AttentionScale(const ModelConfig& config) {
  if (config.attention_scale > 0) return config.attention_scale;
  return 1.0f / std::sqrt(static_cast<float>(config.head_dim));
}

}  // namespace

void TransformerRunner::Forward(const BatchView& batch, const SampledToken* previous) {
  Embed(batch, previous);
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const LayerShape shape = config_.Layer(static_cast<int32_t>(l));
    const LayerWeights& layer = weights_.layers[l];
    if (shape.kv_groups > 0) Attention(batch, layer.attention, shape, kv_layers_[l]);
    if (shape.intermediate_size > 0) FeedForward(batch, layer.feed_forward, shape);
  }
  RmsNorm(batch, weights_.final_norm, workspace_.last, /*logit_rows_only=*/true);
  Logits(batch);
}

void TransformerRunner::Embed(const BatchView& batch, const SampledToken* previous) {
  device_->ops().Embed({.batch = &batch,
                        .table = weights_.embedding.get(),
                        .previous = previous,
                        .scale = EmbeddingScale(config_, act_),
                        .out = workspace_.residual.as<float>()});
}

void TransformerRunner::Attention(const BatchView& batch, const AttentionWeights& weights,
                                  const LayerShape& shape, const KvLayerView& kv) {
  const ForwardWorkspace& w = workspace_;
  RmsNorm(batch, weights.norm, w.normed);
  Linear(batch, w.normed, weights.qkv, w.qkv);
  RopeWriteKv(batch, weights, shape, kv);
  PagedAttention(batch, shape, kv);
  AddBlock(batch, w.attended, weights.o, weights.post_norm);
}

void TransformerRunner::FeedForward(const BatchView& batch, const FeedForwardWeights& weights,
                                    const LayerShape& shape) {
  const ForwardWorkspace& w = workspace_;
  RmsNorm(batch, weights.norm, w.normed);
  Linear(batch, w.normed, weights.gate_up, w.gate_up);
  device_->ops().GateMul({.batch = &batch,
                          .kind = config_.gate,
                          .gate_up = w.gate_up.as<const float>(),
                          .width = shape.intermediate_size,
                          .act = act_,
                          .out = w.gated.data()});
  AddBlock(batch, w.gated, weights.down, weights.post_norm);
}

// A block's last matrix, and what it makes onto the residual stream.
void TransformerRunner::AddBlock(const BatchView& batch, const DeviceBuffer& in,
                                 const LinearWeights& weights, const DeviceBuffer& post_norm) {
  const ForwardWorkspace& w = workspace_;
  if (!config_.post_norms) return Linear(batch, in, weights, w.residual, /*accumulate=*/true);
  Linear(batch, in, weights, w.block);
  device_->ops().AddRmsNorm({.batch = &batch,
                             .x = w.block.as<const float>(),
                             .weight = post_norm.as<const float>(),
                             .eps = config_.rms_norm_eps,
                             .width = config_.hidden_size,
                             .residual = w.residual.as<float>()});
}

void TransformerRunner::RmsNorm(const BatchView& batch, const DeviceBuffer& weight,
                                const DeviceBuffer& out, bool logit_rows_only) {
  device_->ops().RmsNorm({.batch = &batch,
                          .x = workspace_.residual.as<const float>(),
                          .weight = weight.as<const float>(),
                          .eps = config_.rms_norm_eps,
                          .width = config_.hidden_size,
                          .act = act_,
                          .logit_rows_only = logit_rows_only,
                          .out = out.data()});
}

void TransformerRunner::Linear(const BatchView& batch, const DeviceBuffer& in,
                               const LinearWeights& weights, const DeviceBuffer& out,
                               bool accumulate) {
  device_->ops().Linear({.rows = &batch.counts->tokens,
                         .max_rows = batch.capacity.tokens,
                         .in = in.data(),
                         .act = act_,
                         .weights = weights.matrix.get(),
                         .bias = weights.bias_data(),
                         .accumulate = accumulate,
                         .out = out.as<float>()});
}

void TransformerRunner::RopeWriteKv(const BatchView& batch, const AttentionWeights& weights,
                                    const LayerShape& shape, const KvLayerView& kv) {
  const RopeConfig& rope = config_.RopeFor(shape);
  const DeviceBuffer& table = &rope == &config_.rope ? cos_sin_ : window_cos_sin_;
  device_->ops().RopeWriteKv({.batch = &batch,
                              .qkv = workspace_.qkv.as<const float>(),
                              .q_norm = weights.q_norm.as<const float>(),
                              .k_norm = weights.k_norm.as<const float>(),
                              .norm_eps = config_.rms_norm_eps,
                              .rotary_dim = shape.rotates ? RotaryDim(rope, config_.head_dim) : 0,
                              .cos_sin = table.as<const float>(),
                              .num_heads = shape.num_heads,
                              .kv = kv,
                              .act = act_,
                              .q_out = workspace_.q.data()});
}

void TransformerRunner::PagedAttention(const BatchView& batch, const LayerShape& shape,
                                       const KvLayerView& kv) {
  device_->ops().PagedAttention({.batch = &batch,
                                 .q = workspace_.q.data(),
                                 .num_heads = shape.num_heads,
                                 .scale = AttentionScale(config_),
                                 .softcap = config_.attention_softcap,
                                 .window = shape.window,
                                 .kv = kv,
                                 .act = act_,
                                 .out = workspace_.attended.data()});
}

void TransformerRunner::Logits(const BatchView& batch) {
  device_->ops().Linear({.rows = &batch.counts->logit_rows,
                         .max_rows = batch.capacity.logit_rows,
                         .in = workspace_.last.data(),
                         .act = act_,
                         .weights = &weights_.lm_head(),
                         .out = workspace_.logits.as<float>()});
  if (config_.logit_softcap == 0) return;
  device_->ops().SoftCap({.batch = &batch,
                          .logits = workspace_.logits.as<float>(),
                          .vocab = config_.vocab_size,
                          .cap = config_.logit_softcap});
}

}  // namespace quire
