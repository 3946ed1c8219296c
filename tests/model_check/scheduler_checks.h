#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/plan/step_plan.h"
#include "tests/model_check/scheduler_facts.h"
#include "tests/model_check/scheduler_scenario.h"

namespace quire::testing {

// Judges what a scheduler decided by what it found and what it left, see SchedulerFacts. Appends
// what is wrong to `violations`.
class SchedulerChecks {
 public:
  // All must outlive it. `at_rest`: no step is on its way, so nothing is fenced.
  SchedulerChecks(const SchedulerScenario& scenario, const std::vector<SubmittedRequest>& submitted,
                  bool at_rest, std::vector<std::string>* violations)
      : scenario_(scenario), submitted_(submitted), at_rest_(at_rest), violations_(*violations) {}

  // After Scheduler::Admit.
  void Admission(const SchedulerFacts& before, const SchedulerFacts& after);
  // After Scheduler::MakeRoom.
  void Room(const SchedulerFacts& before, const SchedulerFacts& after);
  void Plan(const SchedulerFacts& facts, const StepPlan& plan);
  // In any state.
  void Limits(const SchedulerFacts& facts);

 private:
  using Tenant = SchedulerFacts::Tenant;

  // Whether it may go on by no more than its turn and a place.
  bool WaitsForTurn(const SchedulerFacts& facts, const Tenant& tenant) const;
  void NobodyWaitsInVain(const SchedulerFacts& after);
  void InOrder(const SchedulerFacts& before, const SchedulerFacts& after);
  void NobodyPassesTheBlocked(const SchedulerFacts& before, const SchedulerFacts& after);
  void LoansAreSettled(const SchedulerFacts& before, const SchedulerFacts& after);
  void OnlyLoansGo(const SchedulerFacts& before, const SchedulerFacts& after);
  bool WasOnLoan(size_t request, const SchedulerFacts& before, const SchedulerFacts& after) const;
  void FencesAreWaitedFor(const SchedulerFacts& before, const SchedulerFacts& after);
  void MayBeVictim(size_t request, bool loan, const SchedulerFacts& before);
  bool HoldsReserve(size_t request, const SchedulerFacts& facts) const;
  bool AsksForMore(size_t request, const SchedulerFacts& facts) const;
  void TheOldestGoesOn(const SchedulerFacts& after);
  template <typename... Parts>
  void Report(const Parts&... parts);
  size_t TenantOf(size_t request) const { return scenario_.requests[request].tenant.value(); }

  const SchedulerScenario& scenario_;
  const std::vector<SubmittedRequest>& submitted_;
  const bool at_rest_;
  std::vector<std::string>& violations_;
};

}  // namespace quire::testing
