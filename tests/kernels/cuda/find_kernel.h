#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cuda/device/sample_find.cuh"

namespace quire::kernels::cuda {

struct FindArgs {
  const float* values;
  int32_t count;
  double share;  // of the total
  int32_t* id;   // as every thread has it
};

// The sampling kernel's search in a running sum, with a target of the test's choice.
template <int kBlockThreads>
struct FindKernel {
  static constexpr const char* kName = "find";
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 1;
  using Args = FindArgs;

  template <class Context>
  static QUIRE_DEVICE void Run(Context& context, const Args& args) {
    auto& room = *reinterpret_cast<FindRoom<kThreads>*>(context.Shared());
    const IdWords words = {reinterpret_cast<const uint32_t*>(args.values), false};
    args.id[context.Thread()] = FindInOrder<kThreads>(
        context, room, args.count, words,
        [](int32_t, uint32_t word) { return std::bit_cast<float>(word); },
        [&](double total) { return args.share * total; });
  }
};

}  // namespace quire::kernels::cuda
