#pragma once

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/kernel_entry.h"
#include "kernels/cuda/row_kernels.h"
#include "kernels/cuda/sample_kernels.h"

namespace quire::kernels::cuda {

// All kernels of a back end, as functions that find the entry of a variant.
struct KernelTable {
  KernelEntry (*embed)(DType table);
  KernelEntry (*rms_norm)(DType act);
  KernelEntry (*add_rms_norm)();
  KernelEntry (*rope_write_kv)(DType act, bool fp8_kv);
  KernelEntry (*gate_mul)(DType act, GateKind kind);
  KernelEntry (*soft_cap)();
  KernelEntry (*attention)(const AttentionVariant& variant);
  KernelEntry (*attention_merge)(DType act);
  KernelEntry (*sample_summary)();
  KernelEntry (*sample)();
};

template <class Backend>
KernelTable MakeKernelTable() {
  return {.embed = &EmbedEntry<Backend>,
          .rms_norm = &RmsNormEntry<Backend>,
          .add_rms_norm = &AddRmsNormEntry<Backend>,
          .rope_write_kv = &RopeWriteKvEntry<Backend>,
          .gate_mul = &GateMulEntry<Backend>,
          .soft_cap = &SoftCapEntry<Backend>,
          .attention = &AttentionEntry<Backend>,
          .attention_merge = &AttentionMergeEntry<Backend>,
          .sample_summary = &SampleSummaryEntry<Backend>,
          .sample = &SampleEntry<Backend>};
}

// Those that nvcc made.
const KernelTable& GpuKernels();

}  // namespace quire::kernels::cuda
