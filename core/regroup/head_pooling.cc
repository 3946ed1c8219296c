#include "core/regroup/head_pooling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "kernels/api/float_convert.h"
#include "kernels/api/philox.h"

namespace quire {
namespace {

using kernels::DType;

constexpr size_t kPieceElements = size_t{1} << 16;

// Rounds to odd: what is not a float becomes the neighbour whose last bit is 1. A float has more
// than two bits beyond a 16-bit type, so rounding that to nearest gives what rounding `value` to
// nearest would, which rounding to nearest twice does not (Boldo and Melquiond, 2008).
float RoundToOdd(double value) {
  const auto nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || std::isnan(value)) return nearest;
  auto bits = std::bit_cast<uint32_t>(nearest);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) --bits;
  return std::bit_cast<float>(bits | 1);
}

class HeadPool {
 public:
  HeadPool(const HeadTensor& tensor, int32_t groups, const ByteSink& sink)
      : tensor_(tensor),
        groups_(static_cast<size_t>(groups)),
        merged_(static_cast<size_t>(tensor.heads) / groups_),
        element_bytes_(kernels::DTypeBytes(tensor.dtype)),
        head_bytes_(tensor.data.size() / static_cast<size_t>(tensor.heads)),
        head_elements_(head_bytes_ / element_bytes_),
        sink_(sink) {}

  absl::Status Mean();
  absl::Status First();
  absl::Status Random(uint64_t seed);

 private:
  std::span<const std::byte> Head(size_t head) const {
    return tensor_.data.subspan(head * head_bytes_, head_bytes_);
  }
  // Elements of the piece of `count` at `at`, in floats_.
  void Read(std::span<const std::byte> data, size_t at, size_t count);
  void MeanPiece(size_t group, size_t at, size_t count);
  double Deviation();
  absl::Status Emit();  // sums_, rounded

  const HeadTensor& tensor_;
  const size_t groups_;
  const size_t merged_;  // heads that become one
  const size_t element_bytes_;
  const size_t head_bytes_;
  const size_t head_elements_;
  const ByteSink& sink_;
  std::vector<float> floats_;
  std::vector<double> sums_;
  std::vector<std::byte> bytes_;
};

void HeadPool::Read(std::span<const std::byte> data, size_t at, size_t count) {
  floats_.resize(count);
  kernels::ConvertToFloat(data.data() + at * element_bytes_, tensor_.dtype, count, floats_.data());
}

absl::Status HeadPool::Emit() {
  bytes_.resize(sums_.size() * element_bytes_);
  for (size_t i = 0; i < sums_.size(); ++i) {
    StoreRounded(sums_[i], tensor_.dtype, bytes_.data() + i * element_bytes_);
  }
  return sink_(bytes_);
}

void HeadPool::MeanPiece(size_t group, size_t at, size_t count) {
  for (size_t member = 0; member < merged_; ++member) {
    Read(Head(group * merged_ + member), at, count);
    // The first is taken, not added to 0: a mean of negative zeros is one.
    if (member == 0) {
      sums_.assign(floats_.begin(), floats_.end());
    } else {
      for (size_t i = 0; i < count; ++i) sums_[i] += floats_[i];
    }
  }
  for (double& sum : sums_) sum /= static_cast<double>(merged_);
}

absl::Status HeadPool::Mean() {
  for (size_t group = 0; group < groups_; ++group) {
    for (size_t at = 0; at < head_elements_; at += kPieceElements) {
      MeanPiece(group, at, std::min(kPieceElements, head_elements_ - at));
      QUIRE_RETURN_IF_ERROR(Emit());
    }
  }
  return absl::OkStatus();
}

absl::Status HeadPool::First() {
  for (size_t group = 0; group < groups_; ++group) {
    QUIRE_RETURN_IF_ERROR(sink_(Head(group * merged_)));
  }
  return absl::OkStatus();
}

// By Welford's method (1962), which loses nothing where the mean is far from 0, as that of a bias.
double HeadPool::Deviation() {
  const size_t total = tensor_.data.size() / element_bytes_;
  double mean = 0, squares = 0, seen = 0;
  for (size_t at = 0; at < total; at += kPieceElements) {
    Read(tensor_.data, at, std::min(kPieceElements, total - at));
    for (const float value : floats_) {
      const double delta = value - mean;
      mean += delta / ++seen;
      squares += delta * (value - mean);
    }
  }
  return std::sqrt(squares / std::max(seen, 1.0));
}

absl::Status HeadPool::Random(uint64_t seed) {
  const double deviation = Deviation();
  const size_t total = groups_ * head_elements_;
  const auto uniform = [&](size_t place) {
    return kernels::PhiloxUniform(seed, tensor_.id << 44 | place);
  };
  for (size_t at = 0; at < total; at += kPieceElements) {
    sums_.resize(std::min(kPieceElements, total - at));
    // Two at a time (Box and Muller, 1958); pieces are even, but for the end of the last.
    for (size_t i = 0; i < sums_.size(); i += 2) {
      const double radius = deviation * std::sqrt(-2 * std::log(1 - uniform(at + i)));
      const double angle = 2 * std::numbers::pi * uniform(at + i + 1);
      sums_[i] = radius * std::cos(angle);
      if (i + 1 < sums_.size()) sums_[i + 1] = radius * std::sin(angle);
    }
    QUIRE_RETURN_IF_ERROR(Emit());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PoolHeads(const HeadTensor& tensor, int32_t groups, PoolMethod method, uint64_t seed,
                       const ByteSink& sink) {
  QUIRE_CHECK(groups > 0 && tensor.heads % groups == 0) << groups << " of " << tensor.heads;
  HeadPool pool(tensor, groups, sink);
  switch (method) {
    case PoolMethod::kMean:
      return pool.Mean();
    case PoolMethod::kFirst:
      return pool.First();
    case PoolMethod::kRandom:
      break;
  }
  return pool.Random(seed);
}

void StoreRounded(double value, DType dtype, std::byte* out) {
  if (dtype == DType::kF32) {
    const auto rounded = static_cast<float>(value);
    std::memcpy(out, &rounded, sizeof(rounded));
    return;
  }
  QUIRE_CHECK(dtype == DType::kF16 || dtype == DType::kBF16);
  const float odd = RoundToOdd(value);
  const uint16_t rounded =
      dtype == DType::kF16 ? kernels::FloatToF16(odd) : kernels::FloatToBf16(odd);
  std::memcpy(out, &rounded, sizeof(rounded));
}

}  // namespace quire
