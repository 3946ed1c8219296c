#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/float16.h"

namespace quire::kernels::cuda {

// What a kernel may ask of the machine: its place in the grid, shared memory, barriers and the
// instructions that C++ has no words for. Kernels take it as a template parameter; the emulator of
// tests/support/simt has a class with the same members, which also checks alignment, bounds and
// who takes part. All lanes of a warp, converged, call what is marked [warp]; all threads of a
// block call Sync.
class GpuContext {
 public:
  __device__ explicit GpuContext(std::byte* shared) : shared_(shared) {}

  __device__ int Thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int Lane() const { return static_cast<int>(threadIdx.x) & 31; }
  __device__ int Warp() const { return static_cast<int>(threadIdx.x) >> 5; }
  __device__ int BlockX() const { return static_cast<int>(blockIdx.x); }
  __device__ int BlockY() const { return static_cast<int>(blockIdx.y); }
  __device__ int GridX() const { return static_cast<int>(gridDim.x); }
  __device__ std::byte* Shared() const { return shared_; }

  __device__ void Sync() { __syncthreads(); }
  __device__ void SyncWarp() { __syncwarp(); }

  // [warp] The value of the lane whose number differs in the bits of `mask`.
  template <typename T>
  __device__ T ShuffleXor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
  // [warp] The value of lane `lane`; of lane - delta (the own where there is none).
  template <typename T>
  __device__ T Shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
  }
  template <typename T>
  __device__ T ShuffleUp(T value, int delta) {
    return __shfl_up_sync(0xffffffffu, value, delta);
  }
  // [warp] Bit i is lane i's predicate.
  __device__ uint32_t Ballot(bool predicate) { return __ballot_sync(0xffffffffu, predicate); }

  // Adds to a counter in shared memory, or in global memory, and returns what it was. Integers
  // alone: the order of additions is open.
  __device__ uint32_t AddShared(uint32_t* counter, uint32_t value) {
    return atomicAdd(counter, value);
  }
  __device__ uint32_t AddGlobal(uint32_t* counter, uint32_t value) {
    return atomicAdd(counter, value);
  }

  // 16 bytes from global to shared memory, both aligned to 16; zeros where not `valid`. Readable
  // after CopyWait and, by other threads, a Sync.
  __device__ void CopyAsync16(void* shared, const void* global, bool valid) {
    const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  }
  __device__ void CopyCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  // Until at most kPending of the thread's groups are on their way.
  template <int kPending>
  __device__ void CopyWait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
  }

  // [warp] Four 8x8 matrices of 16-bit elements; lane 8 m + i gives the address of row i of matrix
  // m, 16 bytes aligned to 16.
  __device__ void LoadMatrix4(uint32_t (&out)[4], const void* row) {
    const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(from)
                 : "memory");
  }
  __device__ void LoadMatrix4Transposed(uint32_t (&out)[4], const void* row) {
    const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(from)
                 : "memory");
  }

  // [warp] c += a * b: a is 16x16, b 16x8, both of T (BFloat16 or Half), c 16x8 of float, in the
  // fragment layout of mma.m16n8k16.
  template <typename T>
  __device__ void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    if constexpr (T::kIsBFloat16) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
          "{%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
          "{%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
  }

  // 2^x; 0 for minus infinity.
  __device__ float Exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }

  // 1 / x to an ulp; 0 for an infinity. A division would take a dozen instructions.
  __device__ float Reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }

  // Two values rounded to nearest even as T, `low` in the low half.
  template <typename T>
  __device__ uint32_t Pack(float low, float high) {
    if constexpr (T::kIsBFloat16) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
      return *reinterpret_cast<const uint32_t*>(&pair);
    } else {
      const __half2 pair = __floats2half2_rn(low, high);
      return *reinterpret_cast<const uint32_t*>(&pair);
    }
  }

  // Four e4m3 values to two pairs of T: bytes 0 and 2, bytes 1 and 3. Exact, but for NaN, which
  // becomes 480.
  template <typename T>
  __device__ void UnpackFp8(uint32_t four, uint32_t& even, uint32_t& odd) {
    even = WidenFp8<T>(four << 8);
    odd = WidenFp8<T>(four);
  }

 private:
  // Of the upper byte of each half. Sign, exponent and fraction move to their places; a factor
  // makes up for the other bias and normalises what e4m3 holds as subnormal.
  template <typename T>
  static __device__ uint32_t WidenFp8(uint32_t pair) {
    const uint32_t sign = pair & 0x80008000u;
    uint32_t product;
    if constexpr (T::kIsBFloat16) {
      const uint32_t bits = sign | (pair >> 4 & 0x07f007f0u);
      asm("fma.rn.bf16x2 %0, %1, %2, %3;"  // by 2^120, plus -0
          : "=r"(product)
          : "r"(bits), "r"(0x7b807b80u), "r"(0x80008000u));
    } else {
      const uint32_t bits = sign | (pair >> 1 & 0x3f803f80u);
      asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(bits), "r"(0x5c005c00u));  // 2^8
    }
    return product;
  }

  std::byte* shared_;
};

}  // namespace quire::kernels::cuda
