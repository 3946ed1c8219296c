#include "kernels/cpu/cpu_ops.h"

namespace quire::kernels {
namespace {

// Work sizes come from device memory, as on a GPU: what they say must fit the buffers.
void CheckCounts(const BatchView& batch) {
  const BatchCounts& counts = *batch.counts;
  KERNELS_CHECK(counts.tokens >= 0 && counts.tokens <= batch.capacity.tokens);
  KERNELS_CHECK(counts.sequences >= 0 && counts.sequences <= batch.capacity.sequences);
  KERNELS_CHECK(counts.logit_rows >= 0 && counts.logit_rows <= batch.capacity.logit_rows);
}

void CheckSequences(const BatchView& batch) {
  const int32_t sequences = batch.counts->sequences;
  if (sequences == 0) return;
  KERNELS_CHECK(batch.q_start[0] == 0);
  for (int32_t s = 0; s < sequences; ++s) {
    const int32_t q_len = batch.q_start[s + 1] - batch.q_start[s];
    KERNELS_CHECK(q_len >= 0 && q_len <= batch.kv_len[s]);
  }
  KERNELS_CHECK(batch.q_start[sequences] == batch.counts->tokens);
}

void CheckTables(const BatchView& batch) {
  const int32_t sequences = batch.counts->sequences;
  KERNELS_CHECK(batch.num_classes >= 1 && batch.num_classes <= kMaxCacheClasses);
  for (int32_t c = 0; c < batch.num_classes && sequences > 0; ++c) {
    const int32_t* start = batch.tables[c].start;
    KERNELS_CHECK(start[0] == 0 && start[sequences] <= batch.capacity.table_entries);
    for (int32_t s = 0; s < sequences; ++s) KERNELS_CHECK(start[s] <= start[s + 1]);
  }
}

}  // namespace

CpuOps::CpuOps(ThreadPool* pool, const TierKernels& kernels)
    : pool_(pool), kernels_(kernels), choosers_(static_cast<size_t>(pool->size())) {
  quant_scratch_.reserve(static_cast<size_t>(pool->size()));
  for (int worker = 0; worker < pool->size(); ++worker) {
    attention_scratch_.push_back(std::make_unique<AttentionScratch>());
  }
}

const ElementKernels& CpuOps::Kernels(DType act) const {
  KERNELS_CHECK(act == DType::kF32 || act == DType::kBF16);
  return act == DType::kF32 ? kernels_.f32 : kernels_.bf16;
}

void CpuOps::BeginStep(const BatchView& batch, const BatchHostView&) {
  CheckCounts(batch);
  CheckSequences(batch);
  CheckTables(batch);
  plans_used_ = 0;
}

}  // namespace quire::kernels
