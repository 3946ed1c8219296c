#include "server/cli/load/sample_set.h"

#include <algorithm>
#include <cmath>

namespace quire::cli {
namespace {

// The smallest sample that at least `percent` in a hundred do not exceed.
double NearestRank(const std::vector<float>& sorted, int percent) {
  const size_t rank = (sorted.size() * static_cast<size_t>(percent) + 99) / 100;
  return static_cast<double>(sorted[std::max<size_t>(rank, 1) - 1]);
}

}  // namespace

void SampleSet::Add(double sample) {
  max_ = count_ == 0 ? sample : std::max(max_, sample);
  ++count_;
  sum_ += sample;
  if (samples_.size() < capacity_) {
    samples_.push_back(static_cast<float>(sample));
    return;
  }
  const auto place = std::uniform_int_distribution<int64_t>(0, count_ - 1)(random_);
  if (place < static_cast<int64_t>(capacity_)) {
    samples_[static_cast<size_t>(place)] = static_cast<float>(sample);
  }
}

SampleSummary SampleSet::Summarize() const {
  SampleSummary summary;
  if (count_ == 0) return summary;
  std::vector<float> sorted = samples_;
  std::sort(sorted.begin(), sorted.end());
  summary.count = count_;
  summary.kept = static_cast<int64_t>(sorted.size());
  summary.mean = sum_ / static_cast<double>(count_);
  summary.p50 = NearestRank(sorted, 50);
  summary.p90 = NearestRank(sorted, 90);
  summary.p99 = NearestRank(sorted, 99);
  summary.max = max_;
  return summary;
}

}  // namespace quire::cli
