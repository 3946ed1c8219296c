#pragma once

#include <cstdint>

namespace quire::kernels::cuda {

// What a launch can carry.
inline constexpr int32_t kMaxArgBytes = 4096;

// A kernel that can be launched. A kernel is a class
//
//   struct Name {
//     static constexpr const char* kName = "name";
//     static constexpr int kThreads = 128;     // of a block
//     static constexpr int kMinBlocks = 1;     // a multiprocessor that must fit; bounds registers
//     struct Args { ... };                     // plain data, at most kMaxArgBytes
//     template <class Context>
//     static QUIRE_DEVICE void Run(Context& context, const Args& args);
//   };
//
// and a back end (the GPU's in gpu_backend.cuh, the emulator's in tests/support/simt) makes an
// entry of it with Backend::Entry<Name>().
struct KernelEntry {
  const char* name = nullptr;
  int32_t threads = 0;
  // GPU: the __global__ function; emulator: void (*)(Context&, const void* args).
  const void* function = nullptr;
};

// One launch. Threads are the entry's.
struct LaunchShape {
  int32_t grid_x = 1;
  int32_t grid_y = 1;
  int32_t shared_bytes = 0;
};

}  // namespace quire::kernels::cuda
