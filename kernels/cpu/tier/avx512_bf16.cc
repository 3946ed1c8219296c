#include "kernels/cpu/tier/attention.h"
#include "kernels/cpu/tier/linear.h"
#include "kernels/cpu/tier/quant_linear.h"
#include "kernels/cpu/tier/rows.h"
#include "kernels/cpu/tier/tier_kernels.h"
#include "kernels/cpu/tier/vec_avx512.h"
#include "kernels/cpu/tier/vocab.h"

namespace quire::kernels {
namespace {

template <class E>
constexpr ElementKernels kElementKernels = {
    LinearKernel<E, 12, 2>::Run,
    RowPacking::kTiles,
    QuantizeRow<E>,
    AttentionKernel<E, DenseKv<E>, 6, 4>::Run,
    RopeToken<E>,
    AttentionKernel<E, Int8Kv<typename E::Vec>, 6, 4>::Run,
    RopeTokenInt8<E>,
    RmsNormRow<E>,
    GateMulRow<E, Silu>,
    GateMulRow<E, GeluTanh>,
};

constexpr TierKernels kKernels = {
    12,
    kElementKernels<F32Element<Avx512>>,
    kElementKernels<Bf16Element<Avx512>>,
    QuantLinearKernel<Avx512, 12, 2>::Run,
    nullptr,
    AddRmsNormRow<Avx512>,
    SoftCapRow<Avx512>,
    RangeOfLogits<Avx512>,
    FirstEqual<Avx512>,
    ExpWeights<Avx512>,
};

}  // namespace

const TierKernels& Avx512Bf16Kernels() { return kKernels; }

}  // namespace quire::kernels
