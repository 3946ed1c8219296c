#pragma once

#include <cstdint>
#include <vector>

#include "core/base/clock.h"

namespace quire::cli {

// What is known of a replica from its metrics. Plain data.
struct ReplicaState {
  struct Tenant {
    int64_t tokens = 0;   // KV promised to its requests, and prompt tokens of those that wait
    int64_t waiting = 0;  // requests that a step has seen and not started
    double cost = 0;      // computed so far
  };
  int64_t load = 0;  // tokens of all tenants
  std::vector<Tenant> tenants;
};

// A replica's state as a router sees it that asks every `period`, first at `phase`: at most so
// stale. With a period of 0 as it is. One thread.
class AgedState {
 public:
  AgedState(Duration period, TimePoint phase, size_t tenants) : period_(period), phase_(phase) {
    current_.tenants.resize(tenants);
    seen_ = current_;
  }

  // From `at` on it is `state`, or has so many tokens more. Times do not go back.
  void Update(TimePoint at, const ReplicaState& state);
  void AddTokens(TimePoint at, size_t tenant, int64_t tokens);
  // The same place for as long as this lives; valid as of the last call of another function.
  const ReplicaState& seen() const { return period_ == Duration::zero() ? current_ : seen_; }
  void Look(TimePoint now);

 private:
  const Duration period_;
  const TimePoint phase_;
  int64_t asked_ = 0;  // times that the router has asked so far
  ReplicaState current_;
  ReplicaState seen_;
};

}  // namespace quire::cli
