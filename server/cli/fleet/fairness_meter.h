#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/clock.h"

namespace quire::cli {

// What a tenant got of a fleet while all tenants wanted more than they got.
struct TenantFairness {
  double due = 0;    // its weight's share
  double share = 0;  // of what was computed
  // On the replica where it got the least, and the most, of that replica's work.
  double least_share = 0;
  double most_share = 0;
};

// Adds up who gets what while every tenant has requests waiting for their turn somewhere in the
// fleet; at other times nobody is owed a share. Pure; one thread.
class FairnessMeter {
 public:
  // Counts within [begin, end).
  FairnessMeter(std::vector<double> weights, size_t replicas, TimePoint begin, TimePoint end);

  // From `at` on so many of the tenant's requests wait on the replica. Times do not go back.
  void SetWaiting(size_t replica, size_t tenant, int64_t waiting, TimePoint at);
  // Whether what is computed from now on counts.
  bool contended() const { return idle_tenants_ == 0; }
  // What was computed for the tenant, in a step that began at `at` while contended() was true.
  void AddCost(size_t replica, size_t tenant, double cost, TimePoint at);

  // By tenant; empty where nothing counts.
  std::vector<TenantFairness> Result() const;
  // How long all tenants waited, up to `now`.
  double ContendedSeconds(TimePoint now) const;

 private:
  double Overlap(TimePoint from, TimePoint to) const;  // with the time that counts, in seconds
  double& CostOf(size_t replica, size_t tenant) { return cost_[replica * tenants() + tenant]; }
  size_t tenants() const { return weights_.size(); }

  const std::vector<double> weights_;
  const TimePoint begin_, end_;
  std::vector<int64_t> waiting_;            // by replica and tenant
  std::vector<int64_t> waiting_of_tenant_;  // over all replicas
  size_t idle_tenants_;                     // with nothing waiting
  TimePoint contended_since_{};
  double contended_seconds_ = 0;
  std::vector<double> cost_;  // by replica and tenant
};

}  // namespace quire::cli
