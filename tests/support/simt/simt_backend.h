#pragma once

#include <cstdint>
#include <string>

#include "kernels/cuda/kernel_entry.h"
#include "tests/support/simt/simt_context.h"

namespace quire::kernels::simt {

// The emulator's back end: Entry<Kernel>() is what kernels/cuda's entry functions call. Kernels and
// runs may be used from any thread; a run stays on the caller's.
struct SimtBackend {
  using Function = void (*)(SimtContext&, const void* args);

  template <class Kernel>
  static cuda::KernelEntry Entry() {
    const Function function = [](SimtContext& context, const void* args) {
      Kernel::Run(context, *static_cast<const typename Kernel::Args*>(args));
    };
    return {Kernel::kName, Kernel::kThreads, reinterpret_cast<const void*>(function)};
  }
};

// Runs every block of a launch, in an order that follows from the seed. Returns what a check found
// (kernel, block, thread, what), or "" when there was nothing. `args` are the kernel's Args.
[[nodiscard]] std::string RunGrid(const cuda::KernelEntry& entry, const cuda::LaunchShape& shape,
                                  const void* args, uint64_t seed);

// The same for a test: a check that fails is a failure of the test, with the seed.
void LaunchOrFail(const cuda::KernelEntry& entry, const cuda::LaunchShape& shape, const void* args,
                  uint64_t seed);

}  // namespace quire::kernels::simt
