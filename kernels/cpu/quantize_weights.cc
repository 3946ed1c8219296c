#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/api/float_convert.h"
#include "kernels/cpu/packed_weights.h"
#include "kernels/cpu/thread_pool.h"

namespace quire::kernels {
namespace {

constexpr int32_t kMaxFactor = 15;  // of a group of 4-bit weights
// Such a row's scale is its largest element by this: 8 * 15, the largest product there is.
constexpr float kLargestProduct = 120;

// Integers [cols] of one row, in the format's range, and what they are multiplied by.
struct QuantRow {
  std::vector<int8_t> integers;  // what the kernels multiply
  std::vector<uint8_t> quants;   // 4 bits: what is stored
  std::vector<uint8_t> groups;   // 4 bits: m + 16 s
  float scale = 0;
};

float LargestOf(const float* x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::abs(x[i]));
  }
  return largest;
}

int32_t NearestOf(float x, int32_t least, int32_t most) {
  return std::clamp(static_cast<int32_t>(std::nearbyint(x)), least, most);
}

void QuantizeTo8(const float* x, int64_t cols, QuantRow* row) {
  const float inverse = row->scale > 0 ? 1 / row->scale : 0;
  for (int64_t i = 0; i < cols; ++i) {
    row->integers[static_cast<size_t>(i)] =
        static_cast<int8_t>(NearestOf(x[i] * inverse, -127, 127));
  }
}

// The squared error, in units of the row's scale, of a group with factor m and shift s.
float GroupError(const float* x, int64_t n, float inverse, int32_t m, int32_t s) {
  const float per_step = inverse / static_cast<float>(m);
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto q = static_cast<float>(NearestOf(x[i] * per_step, s - 8, s + 7));
    const float error = x[i] * inverse - q * static_cast<float>(m);
    sum += error * error;
  }
  return sum;
}

// The best factor of those around the one with which the largest element just fits.
uint8_t ChooseGroupScale(const float* x, int64_t n, float inverse) {
  const float largest = LargestOf(x, n) * inverse;
  const auto fits = static_cast<int32_t>(std::nearbyint(largest / 8));
  float least_error = std::numeric_limits<float>::infinity();
  int32_t chosen = 1;
  for (int32_t m = std::max(fits - 1, 1); m <= std::min(fits + 1, kMaxFactor); ++m) {
    for (int32_t s : {0, 1}) {
      const float error = GroupError(x, n, inverse, m, s);
      if (error < least_error) {
        least_error = error;
        chosen = m + 16 * s;
      }
    }
  }
  return static_cast<uint8_t>(chosen);
}

void QuantizeTo4(const float* x, int64_t cols, QuantRow* row) {
  const float inverse = row->scale > 0 ? 1 / row->scale : 0;
  for (int64_t begin = 0; begin < cols; begin += kQuantGroup) {
    const int64_t n = std::min<int64_t>(kQuantGroup, cols - begin);
    const int32_t group = ChooseGroupScale(x + begin, n, inverse);
    const int32_t m = group & 15;
    const int32_t s = group >> 4;
    row->groups[static_cast<size_t>(begin / kQuantGroup)] = static_cast<uint8_t>(group);
    const auto zero = static_cast<uint8_t>(8 - s);
    std::fill_n(row->quants.begin() + begin, kQuantGroup, zero);  // what pads the last group, too
    for (int64_t i = begin; i < begin + n; ++i) {
      const int32_t q = NearestOf(x[i] * inverse / static_cast<float>(m), s - 8, s + 7);
      row->quants[static_cast<size_t>(i)] = static_cast<uint8_t>(q + 8 - s);
      row->integers[static_cast<size_t>(i)] = static_cast<int8_t>(q * m);
    }
  }
}

void Clear(int64_t words, QuantRow* row) {
  row->integers.assign(static_cast<size_t>(words) * 4, 0);
  row->quants.assign(static_cast<size_t>(words) * 4, 8);
  row->groups.assign(static_cast<size_t>(words / kQuantGroupWords), 1);
  row->scale = 0;
}

void Quantize(const float* x, const CpuPackedWeights& weights, QuantRow* row) {
  Clear(weights.words(), row);
  const float largest = LargestOf(x, weights.cols());
  const bool is_int8 = weights.format() == WeightFormat::kInt8;
  row->scale = largest / (is_int8 ? 127.0f : kLargestProduct);
  // A row that is not finite has a scale of NaN and says so in every product; one too small to be
  // inverted is as good as zero.
  if (!(row->scale > std::numeric_limits<float>::min())) return;
  if (is_int8) {
    QuantizeTo8(x, weights.cols(), row);
  } else {
    QuantizeTo4(x, weights.cols(), row);
  }
}

void Store(const QuantRow& row, int64_t panel, int64_t column, const CpuPackedWeights& weights) {
  constexpr int64_t kHalf = kPanelColumns / 2;
  auto* bytes = reinterpret_cast<uint8_t*>(weights.panel(panel));
  for (int64_t i = 0; i < weights.words() * 4; ++i) {
    const auto at = static_cast<size_t>(i);
    if (weights.format() == WeightFormat::kInt8) {
      bytes[(i / 4 * kPanelColumns + column) * 4 + i % 4] = static_cast<uint8_t>(row.integers[at]);
    } else {
      uint8_t& both = bytes[(i / 4 * kHalf + column % kHalf) * 4 + i % 4];
      // Columns come in order: the low half begins the byte.
      both = column < kHalf ? row.quants[at] : static_cast<uint8_t>(both | row.quants[at] << 4);
    }
  }
  for (int64_t segment = 0; segment < weights.segments(); ++segment) {
    const auto begin = row.integers.begin() + segment * kQuantSegment;
    const auto length = std::min<int64_t>(kQuantSegment, row.integers.end() - begin);
    int32_t sum = 0;
    for (auto it = begin; it != begin + length; ++it) sum += *it;
    weights.offsets(panel)[segment * kPanelColumns + column] = -128 * sum;
  }
  if (uint8_t* groups = weights.group_scales(panel); groups != nullptr) {
    for (size_t group = 0; group < row.groups.size(); ++group) {
      groups[static_cast<int64_t>(group) * kPanelColumns + column] = row.groups[group];
    }
  }
  weights.row_scales(panel)[column] = row.scale;
}

// False behind the last row.
bool ReadSource(const HostMatrix* parts, int num_parts, int64_t row, float* out) {
  for (int i = 0; i < num_parts; ++i) {
    const HostMatrix& part = parts[i];
    if (row < part.rows) {
      const size_t offset = static_cast<size_t>(row * part.cols) * DTypeBytes(part.dtype);
      ConvertToFloat(static_cast<const std::byte*>(part.data) + offset, part.dtype,
                     static_cast<size_t>(part.cols), out);
      return true;
    }
    row -= part.rows;
  }
  return false;
}

}  // namespace

void QuantizeParts(const HostMatrix* parts, int num_parts, ThreadPool* pool,
                   CpuPackedWeights* weights) {
  pool->ParallelFor(weights->panels(), [&](int64_t panel, int) {
    std::vector<float> x(static_cast<size_t>(weights->cols()));
    QuantRow row;
    for (int64_t column = 0; column < kPanelColumns; ++column) {
      if (ReadSource(parts, num_parts, panel * kPanelColumns + column, x.data())) {
        Quantize(x.data(), *weights, &row);
      } else {
        Clear(weights->words(), &row);
      }
      Store(row, panel, column, *weights);
    }
  });
}

}  // namespace quire::kernels
