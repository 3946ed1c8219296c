#pragma once

#include <cstdint>

#include "kernels/api/types.h"
#include "kernels/cuda/device/attention.cuh"
#include "kernels/cuda/device/attention_merge.cuh"
#include "kernels/cuda/device/float16.h"
#include "kernels/cuda/kernel_entry.h"

// The instantiations of the attention kernels. Both back ends make their entries from here: the
// GPU's in attention.cu, the emulator's wherever a test asks.

namespace quire::kernels::cuda {

// Which attention kernel: its launch is AttentionLaunch, its arguments AttentionArgs.
struct AttentionVariant {
  DType act = DType::kBF16;  // bf16 or f16
  bool fp8_kv = false;       // else KV is of type act
  int32_t head_dim = 128;    // a multiple of 16, at most 256
  int32_t tile = 0;          // index into kAttentionTileRows
};

namespace internal {

template <typename Element, bool kFp8, int kHeadDim, class Visitor>
auto VisitAttentionTile(int32_t tile, const Visitor& visitor) {
  if (tile == 0) return visitor(AttentionKernel<Element, kFp8, kHeadDim, 1, 4>());
  if constexpr (LargestAttentionTile(kHeadDim) > 1) {
    if (tile == 2) return visitor(AttentionKernel<Element, kFp8, kHeadDim, 8, 1>());
  }
  KERNELS_CHECK(tile == 1);
  return visitor(AttentionKernel<Element, kFp8, kHeadDim, 4, 1>());
}

template <typename Element, bool kFp8, class Visitor>
auto VisitAttentionHeadDim(const AttentionVariant& variant, const Visitor& visitor) {
  const int32_t head_dim = variant.head_dim;
  KERNELS_CHECK(head_dim > 0 && head_dim <= 256 && head_dim % 16 == 0);
  if (head_dim <= 64) return VisitAttentionTile<Element, kFp8, 64>(variant.tile, visitor);
  if constexpr (!kFp8) {  // whose columns come in pairs of 16
    if (head_dim <= 80) return VisitAttentionTile<Element, kFp8, 80>(variant.tile, visitor);
  }
  if (head_dim <= 96) return VisitAttentionTile<Element, kFp8, 96>(variant.tile, visitor);
  if (head_dim <= 128) return VisitAttentionTile<Element, kFp8, 128>(variant.tile, visitor);
  return VisitAttentionTile<Element, kFp8, 256>(variant.tile, visitor);
}

template <typename Element, class Visitor>
auto VisitAttentionKv(const AttentionVariant& variant, const Visitor& visitor) {
  return variant.fp8_kv ? VisitAttentionHeadDim<Element, true>(variant, visitor)
                        : VisitAttentionHeadDim<Element, false>(variant, visitor);
}

// Calls visitor(kernel) with an object of the variant's kernel class.
template <class Visitor>
auto VisitAttention(const AttentionVariant& variant, const Visitor& visitor) {
  if (variant.act == DType::kF16) return VisitAttentionKv<Half>(variant, visitor);
  KERNELS_CHECK(variant.act == DType::kBF16);
  return VisitAttentionKv<BFloat16>(variant, visitor);
}

}  // namespace internal

template <class Backend>
KernelEntry AttentionEntry(const AttentionVariant& variant) {
  return internal::VisitAttention(
      variant, [](auto kernel) { return Backend::template Entry<decltype(kernel)>(); });
}

// Its launch is AttentionMergeLaunch, its arguments the same.
template <class Backend>
KernelEntry AttentionMergeEntry(DType act) {
  if (act == DType::kF16) return Backend::template Entry<AttentionMergeKernel<Half>>();
  return Backend::template Entry<AttentionMergeKernel<BFloat16>>();
}

// Shared memory of a launch; `split` where AttentionArgs::split is set (tile 0 alone knows it).
int32_t AttentionSharedBytes(const AttentionVariant& variant, bool split);

// `items`: those of the variant's tile, or more of them than any plan has.
LaunchShape AttentionLaunch(const AttentionVariant& variant, bool split, int32_t items,
                            int32_t groups);
// `merges` of at most `rows` rows, or more.
LaunchShape AttentionMergeLaunch(int32_t merges, int32_t rows, int32_t groups, int32_t head_dim);

}  // namespace quire::kernels::cuda
