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
Matrix<Real> SiluMul(const Matrix<Real>& gate_up);

// Rotates each of x's heads of `head_dim` in row t to positions[t], with frequencies
// theta^(-2i / head_dim).
template <typename Real>
Matrix<Real> Rope(const Matrix<Real>& x, int32_t head_dim, const std::vector<int32_t>& positions,
                  double theta);

// One sequence: q [q_len, H * D] are its last q_len tokens, k and v [kv_len, G * D] all of them.
// `probabilities` is the type the naive version rounds them to before it multiplies with V.
template <typename Real>
Matrix<Real> Attention(const Matrix<Real>& q, const Matrix<Real>& k, const Matrix<Real>& v,
                       int32_t head_dim, Real scale, DType probabilities);

// The exact probability of every id under the sampling rules, and the plain log-softmax.
std::vector<double> TokenProbabilities(const std::vector<float>& logits, const SamplingRow& row,
                                       const std::vector<int32_t>& seen);
std::vector<double> LogSoftmax(const std::vector<float>& logits);

}  // namespace quire::kernels::reference
