#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/sched/scheduler.h"

namespace quire::testing {

// Compares, after every step, what was computed for each two tenants. While both stay eligible and
// nobody borrows KV, goes ahead on a reserve or is preempted, the difference by weight stays within
// the bound of theorem 4.4 of the VTC paper, and what the steps on their way cost.
class FairnessWatch {
 public:
  struct Sizes {
    int64_t longest_prompt = 0;
    int64_t batch_tokens = 0;  // that all running sequences can have between them
    int64_t step_tokens = 0;   // of all steps on their way
  };

  // Empty when all is well.
  std::string Look(const Scheduler& scheduler, const Sizes& sizes) {
    const auto tenants = static_cast<uint32_t>(scheduler.tenants().size());
    uint64_t disturbances = 0;
    for (uint32_t i = 0; i < tenants; ++i) {
      const TenantLoad load = scheduler.Load(TenantId(i));
      disturbances += load.loans + load.ahead + load.preempted;
    }
    if (disturbances != disturbances_) Forget();
    disturbances_ = disturbances;
    for (uint32_t f = 0; f < tenants; ++f) {
      for (uint32_t g = 0; g < f; ++g) {
        std::string violation = LookAt(scheduler.fair_share(), TenantId(f), TenantId(g), sizes);
        if (!violation.empty()) return violation;
      }
    }
    return "";
  }

  // Weights have changed.
  void Forget() { since_.clear(); }

  // Pairs of tenants and steps in which something was computed for one of an eligible pair.
  uint64_t steps() const { return steps_; }

 private:
  struct Interval {
    uint64_t f_since = 0, g_since = 0;
    double difference = 0;  // at its beginning
    double last = 0;
  };

  std::string LookAt(const FairShare& fair, TenantId f, TenantId g, const Sizes& sizes) {
    if (!fair.IsEligible(f) || !fair.IsEligible(g)) {
      since_.erase({f, g});
      return "";
    }
    const double difference = fair.received(f) / fair.weight(f) - fair.received(g) / fair.weight(g);
    Interval& interval = since_[{f, g}];
    if (interval.f_since != fair.since(f) || interval.g_since != fair.since(g)) {
      interval = {fair.since(f), fair.since(g), difference, difference};
    }
    if (difference != interval.last) ++steps_;
    interval.last = difference;
    const double turn = 2 * std::max(kPrefillTokenCost * static_cast<double>(sizes.longest_prompt),
                                     kSampledTokenCost * static_cast<double>(sizes.batch_tokens));
    const double steps = kSampledTokenCost * static_cast<double>(sizes.step_tokens);
    const double bound = (turn + steps) / std::min(fair.weight(f), fair.weight(g));
    if (std::abs(difference - interval.difference) <= bound) return "";
    return absl::StrCat("tenants ", f.value(), " and ", g.value(), ": ",
                        difference - interval.difference, " is beyond ", bound);
  }

  std::map<std::pair<TenantId, TenantId>, Interval> since_;
  uint64_t disturbances_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace quire::testing
