#include "tests/support/simt/warp_ops.h"

#include <cstring>

#include "kernels/api/float_convert.h"

namespace quire::kernels::simt {
namespace {

using Lanes = WarpRequest* const (&)[32];

void Shuffle(Lanes lanes) {
  uint64_t values[32];
  for (int i = 0; i < 32; ++i) values[i] = lanes[i]->value;
  for (int i = 0; i < 32; ++i) lanes[i]->value = values[lanes[i]->lane];
}

void Ballot(Lanes lanes) {
  uint64_t mask = 0;
  for (int i = 0; i < 32; ++i) mask |= lanes[i]->value << i;
  for (int i = 0; i < 32; ++i) lanes[i]->value = mask;
}

// PTX ISA, ldmatrix: lane i holds two neighbours of row i / 4 of each matrix, or of column i / 4.
void LoadMatrix(Lanes lanes, bool transposed) {
  for (int m = 0; m < 4; ++m) {
    uint16_t matrix[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(matrix[r], lanes[8 * m + r]->row, sizeof(matrix[r]));
    for (int i = 0; i < 32; ++i) {
      const int line = i / 4;
      const int first = i % 4 * 2;
      const uint32_t low = transposed ? matrix[first][line] : matrix[line][first];
      const uint32_t high = transposed ? matrix[first + 1][line] : matrix[line][first + 1];
      lanes[i]->words[m] = low | high << 16;
    }
  }
}

template <bool kBFloat16>
float Low(uint32_t pair) {
  const auto bits = static_cast<uint16_t>(pair);
  return kBFloat16 ? Bf16ToFloat(bits) : F16ToFloat(bits);
}
template <bool kBFloat16>
float High(uint32_t pair) {
  return Low<kBFloat16>(pair >> 16);
}

// PTX ISA, mma.m16n8k16: where the elements of A, B and C are.
template <bool kBFloat16>
void MultiplyAdd(Lanes lanes) {
  float a[16][16];
  float b[16][8];
  for (int i = 0; i < 32; ++i) {
    const int line = i / 4;
    const int first = i % 4 * 2;
    for (int j = 0; j < 4; ++j) {
      float* to = &a[line + j % 2 * 8][first + j / 2 * 8];
      to[0] = Low<kBFloat16>(lanes[i]->words[j]);
      to[1] = High<kBFloat16>(lanes[i]->words[j]);
    }
    for (int j = 0; j < 2; ++j) {
      b[first + j * 8][line] = Low<kBFloat16>(lanes[i]->b[j]);
      b[first + j * 8 + 1][line] = High<kBFloat16>(lanes[i]->b[j]);
    }
  }
  float sum[16][8] = {};
  for (int r = 0; r < 16; ++r) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 8; ++n) sum[r][n] += a[r][k] * b[k][n];
    }
  }
  for (int i = 0; i < 32; ++i) {
    for (int j = 0; j < 4; ++j) lanes[i]->c[j] += sum[i / 4 + j / 2 * 8][i % 4 * 2 + j % 2];
  }
}

}  // namespace

const char* WarpOpName(WarpOp op) {
  switch (op) {
    case WarpOp::kSync:
      return "a warp barrier";
    case WarpOp::kShuffle:
      return "a shuffle";
    case WarpOp::kBallot:
      return "a ballot";
    case WarpOp::kLoadMatrix:
    case WarpOp::kLoadMatrixTransposed:
      return "ldmatrix";
    case WarpOp::kMultiplyAddBFloat16:
    case WarpOp::kMultiplyAddHalf:
      return "mma";
  }
  return "?";
}

void Perform(WarpOp op, WarpRequest* const (&lanes)[32]) {
  switch (op) {
    case WarpOp::kSync:
      return;
    case WarpOp::kShuffle:
      return Shuffle(lanes);
    case WarpOp::kBallot:
      return Ballot(lanes);
    case WarpOp::kLoadMatrix:
      return LoadMatrix(lanes, false);
    case WarpOp::kLoadMatrixTransposed:
      return LoadMatrix(lanes, true);
    case WarpOp::kMultiplyAddBFloat16:
      return MultiplyAdd<true>(lanes);
    case WarpOp::kMultiplyAddHalf:
      return MultiplyAdd<false>(lanes);
  }
}

}  // namespace quire::kernels::simt
