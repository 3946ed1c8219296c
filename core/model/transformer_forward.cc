#include <cmath>

#include "core/model/transformer_runner.h"

// The decoder itself: which operation follows which.

namespace quire {

using kernels::BatchView;
using kernels::DeviceBuffer;
using kernels::KvLayerView;
using kernels::SampledToken;

void TransformerRunner::Forward(const BatchView& batch, const SampledToken* previous) {
  const ForwardWorkspace& w = workspace_;
  device_->ops().BeginStep(batch);
  device_->ops().Embed({.batch = &batch,
                        .table = weights_.embedding.get(),
                        .previous = previous,
                        .out = w.residual.as<float>()});
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const LayerWeights& layer = weights_.layers[l];
    RmsNorm(batch, layer.attention_norm, w.normed);
    Linear(batch, w.normed, layer.qkv, w.qkv);
    RopeWriteKv(batch, kv_layers_[l]);
    PagedAttention(batch, kv_layers_[l]);
    Linear(batch, w.attended, layer.o, w.residual, /*accumulate=*/true);
    RmsNorm(batch, layer.mlp_norm, w.normed);
    Linear(batch, w.normed, layer.gate_up, w.gate_up);
    SiluMul(batch);
    Linear(batch, w.gated, layer.down, w.residual, /*accumulate=*/true);
  }
  RmsNorm(batch, weights_.final_norm, w.last, /*logit_rows_only=*/true);
  LogitsLinear(batch);
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

void TransformerRunner::RopeWriteKv(const BatchView& batch, const KvLayerView& kv) {
  device_->ops().RopeWriteKv({.batch = &batch,
                              .qkv = workspace_.qkv.as<const float>(),
                              .cos_sin = cos_sin_.as<const float>(),
                              .num_heads = config_.num_heads,
                              .kv = kv,
                              .act = act_,
                              .q_out = workspace_.q.data()});
}

void TransformerRunner::PagedAttention(const BatchView& batch, const KvLayerView& kv) {
  device_->ops().PagedAttention({.batch = &batch,
                                 .q = workspace_.q.data(),
                                 .num_heads = config_.num_heads,
                                 .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                                 .kv = kv,
                                 .act = act_,
                                 .out = workspace_.attended.data()});
}

void TransformerRunner::SiluMul(const BatchView& batch) {
  device_->ops().SiluMul({.batch = &batch,
                          .gate_up = workspace_.gate_up.as<const float>(),
                          .width = config_.intermediate_size,
                          .act = act_,
                          .out = workspace_.gated.data()});
}

void TransformerRunner::LogitsLinear(const BatchView& batch) {
  device_->ops().Linear({.rows = &batch.counts->logit_rows,
                         .max_rows = batch.capacity.logit_rows,
                         .in = workspace_.last.data(),
                         .act = act_,
                         .weights = &weights_.lm_head(),
                         .out = workspace_.logits.as<float>()});
}

}  // namespace quire
