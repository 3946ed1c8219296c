#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/sched/scheduler.h"
#include "tests/model_check/state_key.h"

namespace quire {

// Reads all of a scheduler's state that decides what it does next, beyond what its interface shows.
class SchedulerStateReader {
 public:
  struct Running {
    const Sequence* sequence = nullptr;
    int64_t promised_tokens = 0;
    bool loan = false;
  };
  struct Wait {
    SequenceId sequence;
    SequenceId producer;
    int64_t tokens = 0;
    int64_t rounds = 0;  // so far
  };

  // In order of admission.
  static std::vector<Running> RunningOf(const Scheduler& scheduler);
  // Those that are parked and whom they wait for.
  static std::vector<Wait> WaitsOf(const Scheduler& scheduler);
  // With so many tokens that it is going to take besides.
  static bool IsAheadOfRate(const Scheduler& scheduler, TenantId tenant, int64_t expected,
                            TimePoint now) {
    TokenBucket bucket = scheduler.tenants_[tenant.value()].bucket;
    return bucket.OpenAt(now, static_cast<double>(expected)) > now;
  }

  // What the scheduler does not know.
  struct Context {
    std::function<int64_t(SequenceId)> name_of;  // of the request behind a live sequence
    std::vector<double> owed;   // by tenant: of its charges, what steps on their way may refund
    std::vector<bool> is_live;  // by tenant: whether it has a live request
    TimePoint now;
  };
  static void AddTo(const Scheduler& scheduler, const Context& context, testing::StateKey* key);

 private:
  static void AddWaits(const Scheduler& scheduler, const Context& context, testing::StateKey* key);
  static void AddShares(const Scheduler& scheduler, const Context& context, testing::StateKey* key);
  static void AddRates(const Scheduler& scheduler, TimePoint now, testing::StateKey* key);
};

}  // namespace quire
