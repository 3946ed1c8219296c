#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/device/float16.h"
#include "tests/support/simt/float_codec.h"
#include "tests/support/simt/simt_block.h"

namespace quire::kernels::simt {

// GpuContext (kernels/cuda/device/gpu_context.cuh) on the emulator: the same members with the same
// meaning. One for every thread of a block.
class SimtContext {
 public:
  SimtContext(Block* block, int thread) : block_(block), thread_(thread) {}

  int Thread() const { return thread_; }
  int Lane() const { return thread_ & 31; }
  int Warp() const { return thread_ >> 5; }
  int BlockX() const { return block_->block_x(); }
  int BlockY() const { return block_->block_y(); }
  int GridX() const { return block_->grid_x(); }
  std::byte* Shared() const { return block_->shared(); }

  void Sync() { block_->Barrier(thread_); }
  void SyncWarp() { block_->WarpOperation(thread_, WarpOp::kSync); }

  template <typename T>
  T ShuffleXor(T value, int mask) {
    return ShuffleFrom(value, Lane() ^ mask);
  }
  template <typename T>
  T Shuffle(T value, int lane) {
    return ShuffleFrom(value, lane & 31);
  }
  template <typename T>
  T ShuffleUp(T value, int delta) {
    return ShuffleFrom(value, Lane() >= delta ? Lane() - delta : Lane());
  }
  uint32_t Ballot(bool predicate) {
    WarpRequest& request = block_->request(thread_);
    request.value = predicate ? 1 : 0;
    block_->WarpOperation(thread_, WarpOp::kBallot);
    return static_cast<uint32_t>(request.value);
  }

  uint32_t AddShared(uint32_t* counter, uint32_t value) {
    block_->CheckShared(thread_, counter, sizeof(uint32_t), "atomic addition");
    return AddGlobal(counter, value);
  }
  uint32_t AddGlobal(uint32_t* counter, uint32_t value) {
    const uint32_t before = *counter;
    *counter += value;
    return before;
  }

  void CopyAsync16(void* shared, const void* global, bool valid) {
    block_->CopyAsync16(thread_, shared, global, valid);
  }
  void CopyCommit() { block_->CopyCommit(thread_); }
  template <int kPending>
  void CopyWait() {
    block_->CopyWait(thread_, kPending);
  }

  void LoadMatrix4(uint32_t (&out)[4], const void* row) {
    LoadMatrix(WarpOp::kLoadMatrix, out, row);
  }
  void LoadMatrix4Transposed(uint32_t (&out)[4], const void* row) {
    LoadMatrix(WarpOp::kLoadMatrixTransposed, out, row);
  }

  template <typename T>
  void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    WarpRequest& request = block_->request(thread_);
    std::memcpy(request.c, c, sizeof(c));
    std::memcpy(request.words, a, sizeof(a));
    request.b[0] = b0;
    request.b[1] = b1;
    block_->WarpOperation(thread_,
                          T::kIsBFloat16 ? WarpOp::kMultiplyAddBFloat16 : WarpOp::kMultiplyAddHalf);
    std::memcpy(c, request.c, sizeof(c));
  }

  float Exp2(float x) { return std::exp2(x); }
  float Reciprocal(float x) { return 1 / x; }

  template <typename T>
  uint32_t Pack(float low, float high) {
    return Bits<T>(low) | static_cast<uint32_t>(Bits<T>(high)) << 16;
  }

  template <typename T>
  void UnpackFp8(uint32_t four, uint32_t& even, uint32_t& odd) {
    even = Pack<T>(Fp8ToFloat(four & 0xff), Fp8ToFloat(four >> 16 & 0xff));
    odd = Pack<T>(Fp8ToFloat(four >> 8 & 0xff), Fp8ToFloat(four >> 24));
  }

 private:
  template <typename T>
  T ShuffleFrom(T value, int lane) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    WarpRequest& request = block_->request(thread_);
    std::memcpy(&request.value, &value, sizeof(T));
    request.lane = lane;
    block_->WarpOperation(thread_, WarpOp::kShuffle);
    T result;
    std::memcpy(&result, &request.value, sizeof(T));
    return result;
  }

  void LoadMatrix(WarpOp op, uint32_t (&out)[4], const void* row) {
    block_->CheckShared(thread_, row, 16, "ldmatrix");
    WarpRequest& request = block_->request(thread_);
    request.row = row;
    block_->WarpOperation(thread_, op);
    std::memcpy(out, request.words, sizeof(out));
  }

  template <typename T>
  static uint16_t Bits(float value) {
    return T::kIsBFloat16 ? FloatToBf16(value) : FloatToF16(value);
  }

  Block* block_;
  int thread_;
};

}  // namespace quire::kernels::simt
