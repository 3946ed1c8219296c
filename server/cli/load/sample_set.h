#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace quire::cli {

// What a percentile table shows of many samples: percentiles by nearest rank.
struct SampleSummary {
  int64_t count = 0;  // samples added
  int64_t kept = 0;   // samples that the percentiles come from; fewer than count: a random choice
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};

// Samples in bounded memory: 4 bytes each. Up to `capacity` all are kept and percentiles are exact;
// beyond, a uniformly random subset is (Algorithm R, Vitter 1985), while count, mean and maximum
// stay exact. Not thread-safe.
class SampleSet {
 public:
  // `capacity` > 0.
  SampleSet(size_t capacity, uint64_t seed) : capacity_(capacity), random_(seed) {}

  void Add(double sample);
  SampleSummary Summarize() const;
  // Percentiles are of some samples alone.
  bool IsPartial() const { return count_ > static_cast<int64_t>(samples_.size()); }

 private:
  size_t capacity_;
  std::mt19937_64 random_;
  std::vector<float> samples_;
  int64_t count_ = 0;
  double sum_ = 0;
  double max_ = 0;
};

}  // namespace quire::cli
