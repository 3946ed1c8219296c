#include "kernels/cpu/tier/attention.h"
#include "kernels/cpu/tier/linear.h"
#include "kernels/cpu/tier/quant_linear.h"
#include "kernels/cpu/tier/rows.h"
#include "kernels/cpu/tier/tier_kernels.h"
#include "kernels/cpu/tier/vec_portable.h"
#include "kernels/cpu/tier/vocab.h"

namespace quire::kernels {
namespace {

template <class E>
constexpr ElementKernels kElementKernels = {
    LinearKernel<E, 4, 2>::Run,
    RowPacking::kTiles,
    QuantizeRow<E>,
    AttentionKernel<E, DenseKv<E>, 3, 2>::Run,
    RopeToken<E>,
    AttentionKernel<E, Int8Kv<typename E::Vec>, 3, 2>::Run,
    RopeTokenInt8<E>,
    RmsNormRow<E>,
    GateMulRow<E, Silu>,
    GateMulRow<E, GeluTanh>,
};

constexpr TierKernels kKernels = {
    4,
    kElementKernels<F32Element<Portable>>,
    kElementKernels<Bf16Element<Portable>>,
    QuantLinearKernel<Portable, 4, 2>::Run,
    nullptr,
    AddRmsNormRow<Portable>,
    SoftCapRow<Portable>,
    RangeOfLogits<Portable>,
    FirstEqual<Portable>,
    ExpWeights<Portable>,
};

}  // namespace

const TierKernels& PortableKernels() { return kKernels; }

}  // namespace quire::kernels
