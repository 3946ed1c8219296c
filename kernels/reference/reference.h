#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api/ops.h"

// Every operation as the textbook writes it, one element at a time and without paging. In double
// it is the oracle the kernels are held to; in float it is the naive implementation whose error
// sets the tolerance. Inputs are the numbers the kernels see, quantisation included.

namespace quire::kernels::reference {

// Row-major.
template <typename Real>
struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<Real> data;

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), cols(c), data(static_cast<size_t>(r * c)) {}
  Real& at(int64_t r, int64_t c) { return data[static_cast<size_t>(r * cols + c)]; }
  const Real& at(int64_t r, int64_t c) const { return data[static_cast<size_t>(r * cols + c)]; }
};

// in * weights^T (+ bias) (+ add)
template <typename Real>
Matrix<Real> Linear(const Matrix<Real>& in, const Matrix<Real>& weights,
                    const std::vector<Real>* bias, const Matrix<Real>* add);

template <typename Real>
Matrix<Real> RmsNorm(const Matrix<Real>& x, const std::vector<Real>& weight, Real eps);

// gate_up: [T, 2 * width]
template <typename Real>
Matrix<Real> GateMul(const Matrix<Real>& gate_up, GateKind kind);

// cap * tanh(x / cap)
template <typename Real>
Matrix<Real> SoftCap(const Matrix<Real>& x, Real cap);

// Rotates the first `rotary_dim` elements of each of x's heads of `head_dim` in row t to
// positions[t], with frequencies theta^(-2i / rotary_dim).
template <typename Real>
Matrix<Real> Rope(const Matrix<Real>& x, int32_t head_dim, int32_t rotary_dim,
                  const std::vector<int32_t>& positions, double theta);

// What becomes of the products of queries and keys; see PagedAttentionParams.
struct ScoreRule {
  float scale = 1;
  float softcap = 0;
  int32_t window = 0;
};

// One sequence: q [q_len, H * D] are its last q_len tokens, k and v [kv_len, G * D] all of them.
// `probabilities` is the type the naive version rounds them to before it multiplies with V.
template <typename Real>
Matrix<Real> Attention(const Matrix<Real>& q, const Matrix<Real>& k, const Matrix<Real>& v,
                       int32_t head_dim, const ScoreRule& rule, DType probabilities);

}  // namespace quire::kernels::reference
