#include "kernels/cpu/tier/attention.h"
#include "kernels/cpu/tier/linear.h"
#include "kernels/cpu/tier/quant_linear.h"
#include "kernels/cpu/tier/rows.h"
#include "kernels/cpu/tier/tier_kernels.h"
#include "kernels/cpu/tier/vec_avx2.h"
#include "kernels/cpu/tier/vocab.h"

namespace quire::kernels {
namespace {

template <class E>
constexpr ElementKernels kElementKernels = {
    LinearKernel<E, 6, 2>::Run,
    RowPacking::kTiles,
    QuantizeRow<E>,
    AttentionKernel<E, DenseKv<E>, 6, 2>::Run,
    RopeToken<E>,
    AttentionKernel<E, Int8Kv<typename E::Vec>, 6, 2>::Run,
    RopeTokenInt8<E>,
    RmsNormRow<E>,
    GateMulRow<E, Silu>,
    GateMulRow<E, GeluTanh>,
};

constexpr TierKernels kKernels = {
    6,
    kElementKernels<F32Element<Avx2>>,
    kElementKernels<Bf16Element<Avx2>>,
    QuantLinearKernel<Avx2, 6, 1>::Run,
    nullptr,
    AddRmsNormRow<Avx2>,
    SoftCapRow<Avx2>,
    RangeOfLogits<Avx2>,
    FirstEqual<Avx2>,
    ExpWeights<Avx2>,
};

}  // namespace

const TierKernels& Avx2Kernels() { return kKernels; }

}  // namespace quire::kernels
