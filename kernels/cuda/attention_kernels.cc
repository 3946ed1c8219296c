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

}  // namespace quire::kernels::cuda
