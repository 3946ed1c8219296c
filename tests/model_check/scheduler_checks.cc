#include "tests/model_check/scheduler_checks.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"

namespace quire::testing {

template <typename... Parts>
void SchedulerChecks::Report(const Parts&... parts) {
  violations_.push_back(absl::StrCat(parts...));
}

void SchedulerChecks::Admission(const SchedulerFacts& before, const SchedulerFacts& after) {
  if (at_rest_) NobodyWaitsInVain(after);
  for (size_t r = 0; r < submitted_.size(); ++r) {
    if (after.Started(r, before) && after.tenants[TenantOf(r)].ahead_before) {
      Report("request ", r, " starts ahead of its tenant's rate");
    }
  }
  InOrder(before, after);
  NobodyPassesTheBlocked(before, after);
  LoansAreSettled(before, after);
  OnlyLoansGo(before, after);
}

bool SchedulerChecks::WaitsForTurn(const SchedulerFacts& facts, const Tenant& tenant) const {
  const int64_t places = scenario_.options.max_running_sequences;
  // Where many wait for prefixes nobody else is looked at who would wait for one.
  return tenant.may_start && facts.parked < places &&
         static_cast<int64_t>(facts.running.size()) < places;
}

// A reserve is there when it is wanted, and whose turn it is waits for KV alone.
void SchedulerChecks::NobodyWaitsInVain(const SchedulerFacts& after) {
  const Tenant* first = nullptr;
  for (size_t t = 0; t < after.tenants.size(); ++t) {
    const Tenant& tenant = after.tenants[t];
    if (!WaitsForTurn(after, tenant)) continue;
    if (tenant.covered) Report("request ", *tenant.head, " waits for its tenant's reserve");
    if (first == nullptr || tenant.turn < first->turn) first = &tenant;
  }
  if (first == nullptr) return;
  int64_t needs = after.requests[*first->head].needs;
  if (scenario_.options.overcommit) needs += static_cast<int64_t>(after.running.size());
  const int64_t there = after.running.empty() ? after.unpromised : after.free;
  if (needs <= there) Report("request ", *first->head, " waits though it fits");
}

// Within a tenant.
void SchedulerChecks::InOrder(const SchedulerFacts& before, const SchedulerFacts& after) {
  for (size_t r = 0; r < submitted_.size(); ++r) {
    if (!after.Started(r, before)) continue;
    for (size_t w = 0; w < submitted_.size(); ++w) {
      if (TenantOf(w) != TenantOf(r) || !before.requests[w].ready || !after.requests[w].ready) {
        continue;
      }
      const int32_t priority = scenario_.requests[r].priority;
      const int32_t other = scenario_.requests[w].priority;
      if (other > priority || (other == priority && submitted_[w].number < submitted_[r].number)) {
        Report("request ", r, " passes request ", w);
      }
    }
  }
}

// Only what a reserve covers starts before one whose turn came and for which there is no KV.
void SchedulerChecks::NobodyPassesTheBlocked(const SchedulerFacts& before,
                                             const SchedulerFacts& after) {
  for (size_t x = 0; x < after.tenants.size(); ++x) {
    const Tenant& blocked = after.tenants[x];
    if (!before.tenants[x].eligible || !before.tenants[x].may_start ||
        !WaitsForTurn(after, blocked) || blocked.head != before.tenants[x].head) {
      continue;
    }
    for (size_t r = 0; r < submitted_.size(); ++r) {
      const size_t y = TenantOf(r);
      const TenantId id(static_cast<uint32_t>(y));
      if (!after.Started(r, before) || !before.tenants[y].eligible) continue;
      if (before.tenants[x].turn < before.tenants[y].turn &&
          after.tenants[y].used > scenario_.ReserveOf(id)) {
        Report("request ", r, " passes request ", *blocked.head, ", whose turn it is");
      }
    }
  }
}

// A loan is one no longer than somebody could want it back.
void SchedulerChecks::LoansAreSettled(const SchedulerFacts& before, const SchedulerFacts& after) {
  int64_t owed = 0;
  for (uint32_t t = 0; t < before.tenants.size(); ++t) {
    owed += std::max<int64_t>(0, scenario_.ReserveOf(TenantId(t)) - before.tenants[t].used);
  }
  const bool nobody_lacks = before.unpromised - before.floors >= owed;
  for (const size_t r : before.running) {
    if (!before.requests[r].loan || after.Preempted(r, before) || !after.requests[r].loan) continue;
    const TenantId id = scenario_.requests[r].tenant;
    if (nobody_lacks || before.tenants[id.value()].used <= scenario_.ReserveOf(id)) {
      Report("request ", r, " is still on loan");
    }
  }
}

bool SchedulerChecks::WasOnLoan(size_t r, const SchedulerFacts& before,
                                const SchedulerFacts& after) const {
  return before.requests[r].loan ||
         after.tenants[TenantOf(r)].loans > before.tenants[TenantOf(r)].loans;
}

// The newest first, and for somebody's reserve.
void SchedulerChecks::OnlyLoansGo(const SchedulerFacts& before, const SchedulerFacts& after) {
  for (size_t r = 0; r < submitted_.size(); ++r) {
    if (after.Preempted(r, before) && !WasOnLoan(r, before, after)) {
      Report("request ", r, " is preempted at an admission, and not on loan");
    }
  }
  bool older_gone = false;
  for (const size_t r : before.running) {
    if (!before.requests[r].loan) continue;
    if (after.Preempted(r, before)) {
      older_gone = true;
    } else if (older_gone && after.requests[r].loan) {
      Report("an older loan than that of request ", r, " is preempted");
    }
  }
}

void SchedulerChecks::Room(const SchedulerFacts& before, const SchedulerFacts& after) {
  for (const size_t r : before.running) {
    if (!after.Preempted(r, before)) continue;
    if (!scenario_.options.overcommit) Report("request ", r, " is preempted for no reason");
    MayBeVictim(r, WasOnLoan(r, before, after), before);
  }
  FencesAreWaitedFor(before, after);
  if (scenario_.options.overcommit && at_rest_) TheOldestGoesOn(after);
}

// Nobody goes for blocks that are about to be free.
void SchedulerChecks::FencesAreWaitedFor(const SchedulerFacts& before,
                                         const SchedulerFacts& after) {
  int64_t lacking = 0;
  for (const size_t r : before.running) {
    if (scenario_.LimitOf(scenario_.requests[r].tenant) > 0) return;
    lacking += before.requests[r].lacks ? 1 : 0;
  }
  if (lacking > before.free + before.fenced) return;
  for (const size_t r : before.running) {
    if (after.Preempted(r, before)) Report("request ", r, " is preempted, and there is room");
  }
}

// A loan goes for what is older, or firm; what is firm for what is older. Not what a tenant's
// reserve covers, but where it lacks more than that and stands in the way of the oldest.
void SchedulerChecks::MayBeVictim(size_t r, bool loan, const SchedulerFacts& before) {
  bool older_lacks = false, own_older_lacks = false, firm_lacks = false, is_older = true;
  for (const size_t other : before.running) {
    if (other == r) is_older = false;
    if (other == r || !before.requests[other].lacks) continue;
    older_lacks = older_lacks || is_older;
    own_older_lacks = own_older_lacks || (is_older && TenantOf(other) == TenantOf(r));
    firm_lacks = firm_lacks || !before.requests[other].loan;
  }
  if (!older_lacks && !(loan && firm_lacks)) Report("request ", r, " is preempted for nobody");
  if (loan) return;
  if (before.requests[r].preemptions >= scenario_.options.max_preemptions) {
    Report("request ", r, " is preempted once too often");
  }
  const bool stands_in_the_way = before.requests[before.running[0]].lacks && AsksForMore(r, before);
  if (!own_older_lacks && HoldsReserve(r, before) && !stands_in_the_way) {
    Report("request ", r, " is preempted within its tenant's reserve");
  }
}

bool SchedulerChecks::HoldsReserve(size_t r, const SchedulerFacts& facts) const {
  return facts.tenants[TenantOf(r)].used <= scenario_.ReserveOf(scenario_.requests[r].tenant);
}

// Than its tenant's reserve.
bool SchedulerChecks::AsksForMore(size_t r, const SchedulerFacts& facts) const {
  const int64_t reserve = scenario_.ReserveOf(scenario_.requests[r].tenant);
  return facts.requests[r].lacks && facts.tenants[TenantOf(r)].used + 1 > reserve;
}

// Unless all that are newer are beyond its reach, and then they have all that they may need.
void SchedulerChecks::TheOldestGoesOn(const SchedulerFacts& after) {
  if (after.running.empty() || !after.requests[after.running[0]].lacks) return;
  const size_t oldest = after.running[0];
  const TenantId tenant = scenario_.requests[oldest].tenant;
  const int64_t limit = scenario_.LimitOf(tenant);
  const Tenant& of = after.tenants[tenant.value()];
  const bool at_limit = limit > 0 && of.running > 1 && of.used >= limit;
  if (after.running.size() == 1) Report("the only one that runs lacks KV");
  for (const size_t r : after.running) {
    if (r == oldest) continue;
    const TenantId owner = scenario_.requests[r].tenant;
    if (at_limit && owner != tenant) continue;
    const bool reserved = owner != tenant && HoldsReserve(r, after) && !AsksForMore(r, after);
    const bool spent = after.requests[r].preemptions >= scenario_.options.max_preemptions;
    if (after.requests[r].loan || (!reserved && !spent)) {
      Report("request ", oldest, ", the oldest, lacks KV beside request ", r);
    }
  }
}

void SchedulerChecks::Plan(const SchedulerFacts& facts, const StepPlan& plan) {
  int32_t tokens = 0, rows = 0;
  bool prefill = false;
  for (const SequenceStep& step : plan.sequences) {
    tokens += step.num_tokens;
    rows += step.sample ? 1 : 0;
    if (prefill && !step.prefill) Report("a decode row comes behind a prefill chunk");
    prefill = step.prefill;
  }
  if (tokens > scenario_.options.max_step_tokens || tokens != plan.num_tokens ||
      rows != plan.num_logit_rows) {
    Report("a plan of ", tokens, " tokens and ", rows, " rows");
  }
  for (const size_t r : facts.running) {
    const Sequence& sequence = *submitted_[r].sequence;
    const bool planned =
        std::any_of(plan.sequences.begin(), plan.sequences.end(),
                    [&](const SequenceStep& step) { return step.sequence == sequence.id(); });
    const bool may = sequence.RunnableTokens() > 0 && !facts.requests[r].lacks;
    if (planned && !may) Report("request ", r, " is planned, and has nothing to do or no KV");
    if (!planned && may && (!sequence.InPrefill() || tokens < scenario_.options.max_step_tokens)) {
      Report("request ", r, " is left out");
    }
    if (facts.requests[r].lacks && !scenario_.options.overcommit) {
      Report("request ", r, " runs and lacks KV");
    }
  }
}

void SchedulerChecks::Limits(const SchedulerFacts& facts) {
  if (facts.unpromised < 0) Report(-facts.unpromised, " blocks too many are promised or fenced");
  if (facts.running.size() > static_cast<size_t>(scenario_.options.max_running_sequences)) {
    Report(facts.running.size(), " run");
  }
  for (const size_t r : facts.running) {
    const SchedulerFacts::Request& request = facts.requests[r];
    if (scenario_.options.overcommit && request.preemptions >= scenario_.options.max_preemptions &&
        request.promised < request.needs) {
      Report("request ", r, " cannot be preempted again, and may lack KV");
    }
  }
  for (uint32_t t = 0; t < facts.tenants.size(); ++t) {
    const Tenant& tenant = facts.tenants[t];
    const int64_t most = scenario_.tenants[t].max_running;
    const int64_t limit = scenario_.LimitOf(TenantId(t));
    if (most > 0 && tenant.running > most) Report(tenant.running, " of tenant ", t, " run");
    if (limit > 0 && tenant.used > limit) Report("tenant ", t, " has ", tenant.used, " blocks");
  }
}

}  // namespace quire::testing
