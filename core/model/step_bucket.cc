#include "core/model/step_bucket.h"

#include <algorithm>
#include <bit>

#include "core/base/check.h"

namespace quire {
namespace {

constexpr int32_t kUnit = 64;  // rows of the tiles that GPUs multiply by

int32_t NextPowerOfTwo(int32_t n) {
  return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(n)));
}

int32_t NextMultiple(int32_t n) { return (n + kUnit - 1) / kUnit * kUnit; }

// A step without logit rows is not to compute any.
int32_t RoundUp(int32_t n) {
  if (n == 0) return 0;
  return n <= kUnit ? NextPowerOfTwo(n) : NextMultiple(n);
}

// A sequence of one token may have two logit rows, which its bucket would not hold.
bool IsDecode(const kernels::BatchCounts& counts, std::span<const int32_t> q_start) {
  if (counts.tokens < 1 || counts.tokens > kMaxDecodeTokens || counts.tokens != counts.sequences ||
      counts.logit_rows > counts.tokens) {
    return false;
  }
  for (size_t i = 0; i < q_start.size(); ++i) {
    if (q_start[i] != static_cast<int32_t>(i)) return false;
  }
  return true;
}

}  // namespace

StepBucket BucketOf(const kernels::BatchCounts& counts, std::span<const int32_t> q_start,
                    const kernels::BatchCapacity& whole) {
  QUIRE_CHECK(q_start.size() == static_cast<size_t>(counts.sequences) + 1);
  const auto within = [&](int32_t tokens, int32_t sequences, int32_t rows) {
    return kernels::BatchCapacity{.tokens = std::min(tokens, whole.tokens),
                                  .sequences = std::min(sequences, whole.sequences),
                                  .table_entries = whole.table_entries,
                                  .logit_rows = std::min(rows, whole.logit_rows)};
  };
  if (IsDecode(counts, q_start)) {
    const int32_t size = NextPowerOfTwo(counts.tokens);
    return {within(size, size, size), std::countr_zero(static_cast<uint32_t>(size))};
  }
  return {
      within(NextMultiple(counts.tokens), RoundUp(counts.sequences), RoundUp(counts.logit_rows)),
      -1};
}

}  // namespace quire
