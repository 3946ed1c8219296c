#include "kernels/cpu/token_choice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/api/philox.h"
#include "kernels/cpu/top_logits.h"

namespace quire::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;
// Beyond any useful 1 / temperature; inside, neither 0 nor minus infinity times it is NaN.
constexpr float kMinScale = 1e-30f;
constexpr float kMaxScale = 1e30f;

int64_t Blocks(int64_t vocab) { return (vocab + kVocabBlock - 1) / kVocabBlock; }

// Sign, exponent and three bits of the fraction: an eighth of an octave. Weights lie in [0, 1].
int BucketOf(float weight) { return static_cast<int>(std::bit_cast<uint32_t>(weight) >> 20); }

double SumInOrder(const double* values, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace

bool TokenChooser::Reserve(int64_t vocab) {
  if (vocab <= capacity_) return true;
  const auto n = static_cast<size_t>(vocab);
  const auto sums = static_cast<size_t>(Blocks(vocab)) * sizeof(double);
  if (!rules_.Reserve(vocab) || !memory_.Reserve(n * 8 + sums)) return false;
  block_sums_ = memory_.as<double>();
  weights_ = reinterpret_cast<float*>(memory_.data() + sums);
  members_ = reinterpret_cast<int32_t*>(weights_ + n);
  capacity_ = vocab;
  return true;
}

SampledToken TokenChooser::Choose(const TierKernels& kernels, const SampleParams& params,
                                  int64_t row_index) {
  const SamplingRow& row = params.rows[row_index];
  const int64_t vocab = params.vocab;
  const float* const logits = params.logits + row_index * vocab;
  TokenLogprob* const alternatives = params.alternatives + row_index * params.max_alternatives;
  KERNELS_CHECK(row.alternatives <= params.max_alternatives && row.target < vocab);
  std::fill_n(alternatives, row.alternatives, TokenLogprob{});
  const LogitsRange raw = kernels.logits_range(logits, vocab);
  if (raw.has_nan || !std::isfinite(raw.max)) return {};

  const int64_t id = row.target >= 0 ? row.target : ChooseId(kernels, logits, params, row);
  if (id < 0) return {static_cast<int32_t>(id), 0};
  const double log_sum = raw.max + LogSumExp(kernels, logits, vocab, raw.max);
  TopLogits(kernels, logits, vocab, log_sum, row.alternatives, alternatives);
  return {static_cast<int32_t>(id), static_cast<float>(static_cast<double>(logits[id]) - log_sum)};
}

// Negative: one of the codes in kernels/api/sampling.h.
int64_t TokenChooser::ChooseId(const TierKernels& kernels, const float* logits,
                               const SampleParams& params, const SamplingRow& row) {
  const int64_t vocab = params.vocab;
  const int32_t last = row.history_row >= 0 ? params.previous[row.history_row].token_id : -1;
  if (row.history_row >= 0 && last < 0) return kNotFinite;
  KERNELS_CHECK(last < vocab);
  const float* const x = rules_.Apply(logits, params, row, last);
  const float max = kernels.logits_range(x, vocab).max;
  if (!std::isfinite(max)) return kNothingAllowed;
  if (row.temperature <= 0) return kernels.find_first(x, vocab, max);
  const float scale = std::clamp(kLog2E / row.temperature, kMinScale, kMaxScale);
  kernels.exp_weights(x, vocab, max, scale, weights_, block_sums_);
  ApplyFilters(vocab, row);
  return Draw(vocab, PhiloxUniform(row.seed, row.counter));
}

// Of the logits relative to their maximum.
double TokenChooser::LogSumExp(const TierKernels& kernels, const float* logits, int64_t vocab,
                               float max) {
  kernels.exp_weights(logits, vocab, max, kLog2E, nullptr, block_sums_);
  return std::log(SumInOrder(block_sums_, Blocks(vocab)));
}

void TokenChooser::ApplyFilters(int64_t vocab, const SamplingRow& row) {
  const bool top_k = row.top_k > 0 && row.top_k < vocab;
  const bool top_p = row.top_p < 1;
  if (!top_k && !top_p && row.min_p <= 0) return;
  Boundary boundary{0, vocab};
  double mass = SumInOrder(block_sums_, Blocks(vocab));
  if (top_k || top_p) FillBuckets(vocab);
  if (top_k) boundary = TopK(vocab, row.top_k, &mass);
  if (top_p) boundary = TopP(vocab, static_cast<double>(row.top_p) * mass, boundary);
  const float least = std::min(row.min_p, 1.0f);
  if (least > boundary.weight) boundary = {least, vocab};

  for (int64_t begin = 0; begin < vocab; begin += kVocabBlock) {
    double sum = 0;
    for (int64_t i = begin; i < std::min(begin + kVocabBlock, vocab); ++i) {
      if (!Kept(i, boundary)) weights_[i] = 0;
      sum += weights_[i];
    }
    block_sums_[begin / kVocabBlock] = sum;
  }
}

void TokenChooser::FillBuckets(int64_t vocab) {
  std::fill_n(bucket_count_, kBuckets, 0);
  std::fill_n(bucket_mass_, kBuckets, 0.0);
  for (int64_t i = 0; i < vocab; ++i) {
    const int bucket = BucketOf(weights_[i]);
    ++bucket_count_[bucket];
    bucket_mass_[bucket] += weights_[i];
  }
}

// Gathers the kept ids of one bucket and returns their number.
int64_t TokenChooser::CollectBucket(int bucket, int64_t vocab, const Boundary& kept) {
  int64_t count = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    if (BucketOf(weights_[i]) == bucket && Kept(i, kept)) {
      members_[count++] = static_cast<int32_t>(i);
    }
  }
  return count;
}

// The k-th id from the top is in the bucket where the count passes k; only that one is searched.
// *mass becomes the weight of the k ids.
TokenChooser::Boundary TokenChooser::TopK(int64_t vocab, int32_t k, double* mass) {
  int bucket = kBuckets - 1;
  int64_t above = 0;
  *mass = 0;
  for (; above + bucket_count_[bucket] < k; --bucket) {
    above += bucket_count_[bucket];
    *mass += bucket_mass_[bucket];
  }
  const int64_t count = CollectBucket(bucket, vocab, {0, vocab});
  const auto better = [this](int32_t a, int32_t b) {
    return weights_[a] != weights_[b] ? weights_[a] > weights_[b] : a < b;
  };
  int32_t* last = members_ + (k - above - 1);
  std::nth_element(members_, last, members_ + count, better);
  std::sort(members_, last, better);
  for (const int32_t* id = members_; id <= last; ++id) *mass += weights_[*id];
  return {weights_[*last], *last};
}

// The shortest run of ids from the top whose weight reaches `target`.
TokenChooser::Boundary TokenChooser::TopP(int64_t vocab, double target, const Boundary& kept) {
  const int last_bucket = BucketOf(kept.weight);
  int bucket = kBuckets - 1;
  double above = 0;
  for (; bucket > last_bucket; --bucket) {
    if (bucket_count_[bucket] > 0 && above + bucket_mass_[bucket] >= target) break;
    above += bucket_mass_[bucket];
  }
  const int64_t count = CollectBucket(bucket, vocab, kept);
  if (count == 0) return kept;
  std::sort(members_, members_ + count, [this](int32_t a, int32_t b) {
    return weights_[a] != weights_[b] ? weights_[a] > weights_[b] : a < b;
  });
  int64_t last = 0;
  for (double sum = above + weights_[members_[0]]; sum < target && last + 1 < count;) {
    sum += weights_[members_[++last]];
  }
  return {weights_[members_[last]], members_[last]};
}

int64_t TokenChooser::Draw(int64_t vocab, double uniform) const {
  double target = uniform * SumInOrder(block_sums_, Blocks(vocab));
  // Rounding can leave the target just out of reach: then it is the last id with any weight.
  int64_t block = 0;
  double below = 0;
  for (int64_t i = 0; i < Blocks(vocab) && below + block_sums_[block] <= target; ++i) {
    if (block_sums_[i] <= 0) continue;
    if (i != block) below += block_sums_[block];
    block = i;
  }
  target -= below;
  int64_t chosen = 0;
  double sum = 0;
  for (int64_t i = block * kVocabBlock; i < std::min((block + 1) * kVocabBlock, vocab); ++i) {
    if (weights_[i] <= 0) continue;
    chosen = i;
    sum += weights_[i];
    if (sum > target) break;
  }
  return chosen;
}

}  // namespace quire::kernels
