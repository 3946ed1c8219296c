#include "kernels/cuda/attention_kernels.h"

namespace quire::kernels::cuda {

int32_t AttentionSharedBytes(const AttentionVariant& variant, bool split) {
  return internal::VisitAttention(variant, [split](auto kernel) -> int32_t {
    using Shape = typename decltype(kernel)::Shape;
    return split ? Shape::kSharedBytesSplit : Shape::kSharedBytes;
  });
}

}  // namespace quire::kernels::cuda
