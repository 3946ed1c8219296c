#pragma once

#include <algorithm>

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/rope.cuh"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/cuda/kernel_entry.h"

// The kernels of a step that work row by row, and their launches. A launch depends on the capacity
// and the model's shapes alone, never on the batch. Activations and tables are bf16 or f16. The sum
// of a residual and a linear layer's output is made by that layer's GEMM
// (LinearParams::accumulate), so RmsNorm has nothing to add.

namespace quire::kernels::cuda {

template <class Backend>
KernelEntry EmbedEntry(DType table) {
  if (table == DType::kBF16) return Backend::template Entry<EmbedKernel<BFloat16>>();
  return Backend::template Entry<EmbedKernel<Half>>();
}

template <class Backend>
KernelEntry RmsNormEntry(DType act) {
  if (act == DType::kBF16) return Backend::template Entry<RmsNormKernel<BFloat16>>();
  return Backend::template Entry<RmsNormKernel<Half>>();
}

template <class Backend>
KernelEntry AddRmsNormEntry() {
  return Backend::template Entry<AddRmsNormKernel>();
}

template <class Backend>
KernelEntry RopeWriteKvEntry(DType act, bool fp8_kv) {
  if (fp8_kv) {
    if (act == DType::kBF16) return Backend::template Entry<RopeWriteKvKernel<BFloat16, true>>();
    return Backend::template Entry<RopeWriteKvKernel<Half, true>>();
  }
  if (act == DType::kBF16) return Backend::template Entry<RopeWriteKvKernel<BFloat16, false>>();
  return Backend::template Entry<RopeWriteKvKernel<Half, false>>();
}

template <class Backend, class T>
KernelEntry GateMulEntryOf(GateKind kind) {
  if (kind == GateKind::kSilu) return Backend::template Entry<GateMulKernel<T, GateKind::kSilu>>();
  return Backend::template Entry<GateMulKernel<T, GateKind::kGeluTanh>>();
}

template <class Backend>
KernelEntry GateMulEntry(DType act, GateKind kind) {
  if (act == DType::kBF16) return GateMulEntryOf<Backend, BFloat16>(kind);
  return GateMulEntryOf<Backend, Half>(kind);
}

template <class Backend>
KernelEntry SoftCapEntry() {
  return Backend::template Entry<SoftCapKernel>();
}

// Rows beyond this many blocks come in further rounds, so that the surplus blocks of a small batch
// cost little.
inline constexpr int32_t kMaxRowBlocks = 2048;

inline int32_t RowBlocks(int32_t capacity) { return std::clamp(capacity, 1, kMaxRowBlocks); }

inline int32_t BlocksFor(int32_t items, int32_t items_a_block) {
  return std::max((items + items_a_block - 1) / items_a_block, 1);
}

inline LaunchShape EmbedShape(const BatchCapacity& capacity) {
  return {RowBlocks(capacity.tokens), 1, 0};
}

inline LaunchShape RmsNormShape(const BatchCapacity& capacity, bool logit_rows_only) {
  return {RowBlocks(logit_rows_only ? capacity.logit_rows : capacity.tokens), 1,
          kRmsNormSharedBytes};
}

inline LaunchShape AddRmsNormShape(const BatchCapacity& capacity) {
  return {RowBlocks(capacity.tokens), 1, kRmsNormSharedBytes};
}

inline LaunchShape RopeWriteKvShape(const BatchCapacity& capacity, int32_t num_heads,
                                    int32_t kv_groups) {
  return {RowBlocks(capacity.tokens), BlocksFor(num_heads + 2 * kv_groups, kRopeHeads), 0};
}

inline LaunchShape GateMulShape(const BatchCapacity& capacity, int32_t width) {
  return {RowBlocks(capacity.tokens), BlocksFor(width, kGateMulElements), 0};
}

inline LaunchShape SoftCapShape(const BatchCapacity& capacity, int32_t vocab) {
  return {RowBlocks(capacity.logit_rows), BlocksFor(vocab, SoftCapKernel::kElements), 0};
}

}  // namespace quire::kernels::cuda
