#include "kernels/reference/reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

namespace quire::kernels::reference {
namespace {

// Nearest bf16, ties to even; finite values only.
template <typename Real>
Real RoundToBf16(Real x) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x));
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  return static_cast<Real>(std::bit_cast<float>(rounded));
}

template <typename Real>
Real Score(Real dot, const ScoreRule& rule) {
  const Real score = dot * static_cast<Real>(rule.scale);
  const auto cap = static_cast<Real>(rule.softcap);
  return cap > 0 ? cap * std::tanh(score / cap) : score;
}

// The query token sees the tokens [begin, end).
template <typename Real>
void AttendOneRow(const Real* q, const Matrix<Real>& k, const Matrix<Real>& v, int64_t offset,
                  int64_t begin, int64_t end, int32_t head_dim, const ScoreRule& rule,
                  DType probabilities, Real* out) {
  std::vector<Real> p(static_cast<size_t>(end - begin));
  for (int64_t t = begin; t < end; ++t) {
    const Real* key = &k.at(t, offset);
    Real dot = 0;
    for (int32_t d = 0; d < head_dim; ++d) dot += q[d] * key[d];
    p[static_cast<size_t>(t - begin)] = Score(dot, rule);
  }
  const Real max = *std::max_element(p.begin(), p.end());
  Real sum = 0;
  for (Real& x : p) sum += x = std::exp(x - max);
  for (Real& x : p) x = probabilities == DType::kBF16 ? RoundToBf16(x / sum) : x / sum;
  std::fill_n(out, head_dim, Real{0});
  for (int64_t t = begin; t < end; ++t) {
    const Real* values = &v.at(t, offset);
    for (int32_t d = 0; d < head_dim; ++d) out[d] += p[static_cast<size_t>(t - begin)] * values[d];
  }
}

template <typename Real>
Real Gate(Real x, GateKind kind) {
  if (kind == GateKind::kSilu) return x / (1 + std::exp(-x));
  const auto root = static_cast<Real>(std::sqrt(2 * std::numbers::inv_pi));
  return x / 2 * (1 + std::tanh(root * (x + static_cast<Real>(0.044715) * x * x * x)));
}

}  // namespace

template <typename Real>
Matrix<Real> Linear(const Matrix<Real>& in, const Matrix<Real>& weights,
                    const std::vector<Real>* bias, const Matrix<Real>* add) {
  Matrix<Real> out(in.rows, weights.rows);
  for (int64_t m = 0; m < in.rows; ++m) {
    for (int64_t n = 0; n < weights.rows; ++n) {
      Real sum = 0;
      for (int64_t k = 0; k < in.cols; ++k) sum += in.at(m, k) * weights.at(n, k);
      if (bias != nullptr) sum += (*bias)[static_cast<size_t>(n)];
      if (add != nullptr) sum += add->at(m, n);
      out.at(m, n) = sum;
    }
  }
  return out;
}

template <typename Real>
Matrix<Real> RmsNorm(const Matrix<Real>& x, const std::vector<Real>& weight, Real eps) {
  Matrix<Real> out(x.rows, x.cols);
  for (int64_t r = 0; r < x.rows; ++r) {
    Real sum = 0;
    for (int64_t i = 0; i < x.cols; ++i) sum += x.at(r, i) * x.at(r, i);
    const Real norm = std::sqrt(sum / static_cast<Real>(x.cols) + eps);
    for (int64_t i = 0; i < x.cols; ++i) {
      out.at(r, i) = x.at(r, i) / norm * weight[static_cast<size_t>(i)];
    }
  }
  return out;
}

template <typename Real>
Matrix<Real> GateMul(const Matrix<Real>& gate_up, GateKind kind) {
  const int64_t width = gate_up.cols / 2;
  Matrix<Real> out(gate_up.rows, width);
  for (int64_t r = 0; r < gate_up.rows; ++r) {
    for (int64_t i = 0; i < width; ++i) {
      out.at(r, i) = Gate(gate_up.at(r, i), kind) * gate_up.at(r, width + i);
    }
  }
  return out;
}

template <typename Real>
Matrix<Real> SoftCap(const Matrix<Real>& x, Real cap) {
  Matrix<Real> out = x;
  for (Real& value : out.data) value = cap * std::tanh(value / cap);
  return out;
}

template <typename Real>
Matrix<Real> Rope(const Matrix<Real>& x, int32_t head_dim, int32_t rotary_dim,
                  const std::vector<int32_t>& positions, double theta) {
  Matrix<Real> out = x;
  const int32_t half = rotary_dim / 2;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const int64_t i = c % head_dim;
      if (i >= rotary_dim) continue;
      const double exponent = -2.0 * static_cast<double>(i % half) / rotary_dim;
      const double angle = positions[static_cast<size_t>(r)] * std::pow(theta, exponent);
      const auto cosine = static_cast<Real>(std::cos(angle));
      const auto sine = static_cast<Real>(std::sin(angle));
      out.at(r, c) = i < half ? x.at(r, c) * cosine - x.at(r, c + half) * sine
                              : x.at(r, c) * cosine + x.at(r, c - half) * sine;
    }
  }
  return out;
}

template <typename Real>
Matrix<Real> Attention(const Matrix<Real>& q, const Matrix<Real>& k, const Matrix<Real>& v,
                       int32_t head_dim, const ScoreRule& rule, DType probabilities) {
  Matrix<Real> out(q.rows, q.cols);
  const int64_t heads = q.cols / head_dim;
  const int64_t q_per_group = heads / (k.cols / head_dim);
  for (int64_t t = 0; t < q.rows; ++t) {
    const int64_t end = k.rows - q.rows + t + 1;
    const int64_t begin = rule.window == 0 ? 0 : std::max<int64_t>(0, end - rule.window);
    for (int64_t h = 0; h < heads; ++h) {
      AttendOneRow(&q.at(t, h * head_dim), k, v, h / q_per_group * head_dim, begin, end, head_dim,
                   rule, probabilities, &out.at(t, h * head_dim));
    }
  }
  return out;
}

template Matrix<double> Linear(const Matrix<double>&, const Matrix<double>&,
                               const std::vector<double>*, const Matrix<double>*);
template Matrix<double> RmsNorm(const Matrix<double>&, const std::vector<double>&, double);
template Matrix<double> GateMul(const Matrix<double>&, GateKind);
template Matrix<double> SoftCap(const Matrix<double>&, double);
template Matrix<double> Rope(const Matrix<double>&, int32_t, int32_t, const std::vector<int32_t>&,
                             double);
template Matrix<double> Attention(const Matrix<double>&, const Matrix<double>&,
                                  const Matrix<double>&, int32_t, const ScoreRule&, DType);

template Matrix<float> Linear(const Matrix<float>&, const Matrix<float>&, const std::vector<float>*,
                              const Matrix<float>*);
template Matrix<float> RmsNorm(const Matrix<float>&, const std::vector<float>&, float);
template Matrix<float> GateMul(const Matrix<float>&, GateKind);
template Matrix<float> SoftCap(const Matrix<float>&, float);
template Matrix<float> Rope(const Matrix<float>&, int32_t, int32_t, const std::vector<int32_t>&,
                            double);
template Matrix<float> Attention(const Matrix<float>&, const Matrix<float>&, const Matrix<float>&,
                                 int32_t, const ScoreRule&, DType);

}  // namespace quire::kernels::reference
