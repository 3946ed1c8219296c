#include "tests/model_check/scheduler_facts.h"

#include <algorithm>

#include "tests/model_check/scheduler_state_reader.h"

namespace quire::testing {
namespace {

int64_t BlocksFor(int64_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

using Place = std::pair<int32_t, uint64_t>;

Place PlaceOf(const SchedulerScenario& scenario, const std::vector<SubmittedRequest>& submitted,
              size_t r) {
  const SchedulerRequest& request = scenario.requests[r];
  const int32_t most = scenario.tenants[request.tenant.value()].max_priority;
  return {-std::min(request.priority, most), submitted[r].number};
}

}  // namespace

SchedulerFacts SchedulerFacts::Of(const SchedulerScenario& scenario,
                                  const std::vector<SubmittedRequest>& submitted,
                                  const Scheduler& scheduler, const KvCacheManager& kv,
                                  TimePoint now) {
  SchedulerFacts facts;
  facts.requests.resize(submitted.size());
  facts.tenants.resize(scenario.tenants.size());
  facts.fenced = kv.Snapshot().classes[0].fenced_blocks;
  facts.unpromised = scenario.blocks - facts.fenced;
  std::vector<int64_t> expected(facts.tenants.size()), newest(facts.tenants.size());
  for (const SchedulerStateReader::Running& running : SchedulerStateReader::RunningOf(scheduler)) {
    size_t r = 0;
    while (submitted[r].sequence != running.sequence) ++r;
    Request& request = facts.requests[r];
    request.running = true;
    request.loan = running.loan;
    request.promised = kv.Table(running.sequence->id()).promised_blocks;
    request.lacks = running.sequence->RunnableTokens() > 0 &&
                    running.promised_tokens <= running.sequence->launched();
    Tenant& tenant = facts.tenants[scenario.requests[r].tenant.value()];
    ++tenant.running;
    tenant.used += request.promised;
    const uint32_t t = scenario.requests[r].tenant.value();
    newest[t] = running.sequence->NewPromptTokens(running.sequence->prefill_tokens() -
                                                  running.sequence->launched());
    expected[t] += newest[t];
    facts.unpromised -= request.promised;
    facts.running.push_back(r);
  }
  const auto waits = SchedulerStateReader::WaitsOf(scheduler);
  facts.parked = static_cast<int64_t>(waits.size());
  for (size_t r = 0; r < submitted.size(); ++r) {
    const Sequence* const sequence = submitted[r].sequence;
    if (sequence == nullptr) continue;
    Request& request = facts.requests[r];
    request.preemptions = sequence->preemptions();
    const bool in_parts =
        scenario.options.overcommit && request.preemptions < scenario.options.max_preemptions;
    const auto known = static_cast<int64_t>(sequence->tokens().size());
    const int64_t most = sequence->max_kv_tokens();
    request.needs = BlocksFor(in_parts ? std::min(known + 1, most) : most);
    if (request.running) continue;
    request.ready = std::none_of(waits.begin(), waits.end(),
                                 [&](const auto& wait) { return wait.sequence == sequence->id(); });
    std::optional<size_t>& head = facts.tenants[scenario.requests[r].tenant.value()].head;
    if (request.ready && (!head.has_value() ||
                          PlaceOf(scenario, submitted, r) < PlaceOf(scenario, submitted, *head))) {
      head = r;
    }
  }
  facts.free = facts.unpromised;
  for (uint32_t t = 0; t < facts.tenants.size(); ++t) {
    Tenant& tenant = facts.tenants[t];
    const TenantId id(t);
    const TenantPolicy& policy = scenario.tenants[t];
    facts.floors += scenario.FloorOf(id);
    facts.free -= std::min(scenario.FloorOf(id), kv.PrefixUseOf(id).unused_bytes / kBlockBytes);
    tenant.loans = scheduler.Load(id).loans;
    tenant.ahead = SchedulerStateReader::IsAheadOfRate(scheduler, id, expected[t], now);
    tenant.ahead_before =
        SchedulerStateReader::IsAheadOfRate(scheduler, id, expected[t] - newest[t], now);
    tenant.eligible = scheduler.fair_share().IsEligible(id);
    tenant.turn = scheduler.fair_share().turn(id);
    if (!tenant.head.has_value()) continue;
    const int64_t then = tenant.used + facts.requests[*tenant.head].needs;
    const int64_t limit = scenario.LimitOf(id);
    tenant.may_start = !tenant.ahead &&
                       (policy.max_running == 0 || tenant.running < policy.max_running) &&
                       (tenant.running == 0 || limit == 0 || then <= limit);
    tenant.covered = then <= scenario.ReserveOf(id);
  }
  return facts;
}

}  // namespace quire::testing
