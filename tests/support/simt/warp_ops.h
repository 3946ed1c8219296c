#pragma once

#include <cstdint>

namespace quire::kernels::simt {

enum class WarpOp : uint8_t {
  kSync,
  kShuffle,
  kBallot,
  kLoadMatrix,
  kLoadMatrixTransposed,
  kMultiplyAddBFloat16,
  kMultiplyAddHalf
};
const char* WarpOpName(WarpOp op);

// What one lane brings to an operation of its warp, and what it takes away.
struct WarpRequest {
  WarpOp op = WarpOp::kSync;
  uint64_t value = 0;         // shuffle: the lane's value, then the other's; ballot: 0 or 1, mask
  int32_t lane = 0;           // shuffle: whose value
  const void* row = nullptr;  // load matrix: 16 bytes of shared memory
  uint32_t words[4] = {};     // load matrix: result; multiply: a
  uint32_t b[2] = {};
  float c[4] = {};  // multiply: in and out
};

// Carries out the operation that all 32 lanes ask for.
void Perform(WarpOp op, WarpRequest* const (&lanes)[32]);

}  // namespace quire::kernels::simt
