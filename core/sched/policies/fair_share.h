#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/base/ids.h"

namespace quire {

// Whose turn it is: a weighted Virtual Token Counter (Sheng et al., "Fairness in Serving Large
// Language Models", OSDI 2024). Each tenant has a counter of the cost that was computed for it,
// divided by its weight, and the lowest counter goes first. Only eligible tenants compete: those
// with work that waits for nothing but its turn. One that becomes eligible is lifted to the lowest
// counter among those that are, so that nobody saves up turns by being idle; where none is, to that
// of the last one that was.
//
// A tenant whose turn it is gets it for a sequence, whose cost comes later: what is expected of it
// counts for the turns until then, so that one turn is not taken for many.
//
// While two tenants stay eligible, their costs divided by their weights differ by a bounded amount
// (the paper's theorem 4.4): twice what one turn may cost, and what the steps on their way cost.
// A charge is O(1), for there are many a step; becoming eligible and turns() are O(tenants), with a
// small factor. A value; copyable, so that a checker can explore it.
class FairShare {
 public:
  struct Turn {
    double counter = 0;  // with what is expected
    uint64_t since = 0;  // of equal counters, the one that became eligible last is first
    TenantId tenant;

    // Whose turn comes first.
    friend bool operator<(const Turn& a, const Turn& b) {
      if (a.counter != b.counter) return a.counter < b.counter;
      return a.since > b.since;
    }
  };

  // By TenantId; each > 0. At least as many as before.
  void SetWeights(const std::vector<double>& weights);
  void SetEligible(TenantId id, bool eligible);
  // `cost` was computed for the tenant, eligible or not; below 0 it is a refund.
  void Charge(TenantId id, double cost);
  // So much more is going to be computed for it; below 0: so much less.
  void Expect(TenantId id, double cost);

  bool IsEligible(TenantId tenant) const { return tenants_.at(tenant.value()).IsEligible(); }
  double counter(TenantId tenant) const { return counters_.at(tenant.value()); }
  double expected(TenantId tenant) const { return tenants_.at(tenant.value()).expected; }
  uint64_t since(TenantId tenant) const { return tenants_.at(tenant.value()).since; }
  Turn turn(TenantId id) const;
  double weight(TenantId tenant) const { return tenants_.at(tenant.value()).weight; }
  // Of the eligible tenants, in no order.
  std::vector<Turn> turns() const;

  // What was computed for it in all; while it was eligible; and what its share of everything that
  // was computed in that time amounts to.
  double received(TenantId tenant) const { return tenants_.at(tenant.value()).received; }
  double received_of_due(TenantId tenant) const {
    return tenants_.at(tenant.value()).received_of_due;
  }
  double due(TenantId id) const;

 private:
  static constexpr size_t kNotEligible = std::numeric_limits<size_t>::max();
  struct Tenant {
    double weight = 1;
    double expected = 0;
    size_t eligible_index = kNotEligible;  // in eligible_
    uint64_t since = 0;
    double received = 0;
    double received_of_due = 0;
    double due = 0;       // until `due_from`
    double due_from = 0;  // in units of shared_

    bool IsEligible() const { return eligible_index != kNotEligible; }
  };

  double LowestCounter() const;

  std::vector<Tenant> tenants_;
  std::vector<double> counters_;  // by tenant, close together for the search of the lowest
  std::vector<TenantId> eligible_;
  double eligible_weight_ = 0;
  double shared_ = 0;        // cost per weight, of what was computed while somebody was eligible
  double last_counter_ = 0;  // of the tenant that was eligible last
  uint64_t last_since_ = 0;
};

}  // namespace quire
