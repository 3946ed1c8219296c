#include "kernels/cuda/attention_kernels.h"

#include <limits>

namespace quire::kernels::cuda {

int32_t AttentionSharedBytes(const AttentionVariant& variant, bool split) {
  return internal::VisitAttention(variant, [split](auto kernel) -> int32_t {
    using Shape = typename decltype(kernel)::Shape;
    return split ? Shape::kSharedBytesSplit : Shape::kSharedBytes;
  });
}

LaunchShape AttentionLaunch(const AttentionVariant& variant, bool split, int32_t items,
                            int32_t groups) {
  const int64_t blocks = int64_t{items} * groups;
  KERNELS_CHECK(blocks <= std::numeric_limits<int32_t>::max());  // of a grid's x
  return {static_cast<int32_t>(blocks), 1, AttentionSharedBytes(variant, split)};
}

LaunchShape AttentionMergeLaunch(int32_t merges, int32_t rows, int32_t groups, int32_t head_dim) {
  const int32_t blocks = AttentionMergeBlocks(rows, groups, head_dim);
  KERNELS_CHECK(blocks <= std::numeric_limits<uint16_t>::max());  // of a grid's y
  return {merges, blocks, 0};
}

}  // namespace quire::kernels::cuda
