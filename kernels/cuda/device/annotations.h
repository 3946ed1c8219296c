#pragma once

// Device code is plain C++ in templates over a context: nvcc compiles it for the GPU, any other
// compiler for the emulator of tests/support/simt.
//
// QUIRE_UNROLL before a loop: its arrays are registers only if every index is a constant.
#ifdef __CUDACC__
#define QUIRE_DEVICE __host__ __device__ __forceinline__
#define QUIRE_UNROLL _Pragma("unroll")
#define QUIRE_UNROLL_BY_2 _Pragma("unroll 2")
#else
#define QUIRE_DEVICE inline
#define QUIRE_UNROLL
#define QUIRE_UNROLL_BY_2
#endif
