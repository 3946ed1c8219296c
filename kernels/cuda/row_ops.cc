#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cuda_weights.h"
#include "kernels/cuda/row_kernels.h"

namespace quire::kernels::cuda {

void CudaOps::Embed(const EmbedParams& params) {
  const BatchView& batch = *params.batch;
  const auto& table = static_cast<const CudaWeights&>(*params.table);
  Launch(kernels_.embed(table.dtype()), EmbedShape(batch.capacity),
         EmbedArgs{.counts = batch.counts,
                   .token_ids = batch.token_ids,
                   .previous = params.previous,
                   .table = table.data(),
                   .vocab = static_cast<int32_t>(table.rows()),
                   .width = static_cast<int32_t>(table.cols()),
                   .scale = params.scale,
                   .out = params.out});
}

void CudaOps::RmsNorm(const RmsNormParams& params) {
  const BatchView& batch = *params.batch;
  Launch(kernels_.rms_norm(params.act), RmsNormShape(batch.capacity, params.logit_rows_only),
         RmsNormArgs{.counts = batch.counts,
                     .logit_rows = params.logit_rows_only ? batch.logit_rows : nullptr,
                     .x = params.x,
                     .weight = params.weight,
                     .eps = params.eps,
                     .width = params.width,
                     .out = params.out});
}

void CudaOps::AddRmsNorm(const AddRmsNormParams& params) {
  const BatchView& batch = *params.batch;
  Launch(kernels_.add_rms_norm(), AddRmsNormShape(batch.capacity),
         AddRmsNormArgs{.counts = batch.counts,
                        .x = params.x,
                        .weight = params.weight,
                        .eps = params.eps,
                        .width = params.width,
                        .residual = params.residual});
}

// All rows of the capacity are multiplied: how many are valid the host need not know, and what the
// others hold reaches no other row.
void CudaOps::Linear(const LinearParams& params) {
  const auto& weights = static_cast<const CudaWeights&>(*params.weights);
  KERNELS_CHECK(weights.dtype() == params.act);
  runtime_->Gemm({.type = params.act,
                  .in = params.in,
                  .weights = weights.data(),
                  .bias = params.bias,
                  .out = params.out,
                  .m = params.max_rows,
                  .n = weights.rows(),
                  .k = weights.cols(),
                  .accumulate = params.accumulate,
                  .fixed_algorithm = split_ > 0});
}

void CudaOps::RopeWriteKv(const RopeWriteKvParams& params) {
  const BatchView& batch = *params.batch;
  const bool fp8_kv = params.kv.dtype == DType::kF8E4M3;
  KERNELS_CHECK(fp8_kv || params.kv.dtype == params.act);
  KERNELS_CHECK(params.kv.cache_class < batch.num_classes);
  Launch(kernels_.rope_write_kv(params.act, fp8_kv),
         RopeWriteKvShape(batch.capacity, params.num_heads, params.kv.kv_groups),
         RopeWriteKvArgs{.counts = batch.counts,
                         .positions = batch.positions,
                         .q_start = batch.q_start,
                         .tables = batch.tables[params.kv.cache_class],
                         .qkv = params.qkv,
                         .q_norm = params.q_norm,
                         .k_norm = params.k_norm,
                         .norm_eps = params.norm_eps,
                         .rotary_dim = params.rotary_dim,
                         .cos_sin = params.cos_sin,
                         .num_heads = params.num_heads,
                         .kv = params.kv,
                         .scale_offset = static_cast<uint32_t>(params.kv.ScaleOffset()),
                         .q_out = params.q_out});
}

void CudaOps::GateMul(const GateMulParams& params) {
  const BatchView& batch = *params.batch;
  Launch(kernels_.gate_mul(params.act, params.kind), GateMulShape(batch.capacity, params.width),
         GateMulArgs{.counts = batch.counts,
                     .gate_up = params.gate_up,
                     .width = params.width,
                     .out = params.out});
}

void CudaOps::SoftCap(const SoftCapParams& params) {
  const BatchView& batch = *params.batch;
  Launch(kernels_.soft_cap(), SoftCapShape(batch.capacity, params.vocab),
         SoftCapArgs{.counts = batch.counts,
                     .logits = params.logits,
                     .vocab = params.vocab,
                     .cap = params.cap});
}

}  // namespace quire::kernels::cuda
