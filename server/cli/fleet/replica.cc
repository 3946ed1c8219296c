#include "server/cli/fleet/replica.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "core/base/check.h"

namespace quire::cli {
namespace {

constexpr int32_t kMostReserved = 1024;  // tokens of an answer

EngineDependencies Dependencies(ModelRunner* runner, KvCacheManager* kv, OutputSink* sink,
                                const Clock* clock) {
  EngineDependencies dependencies;
  dependencies.runner = runner;
  dependencies.kv = kv;
  dependencies.sink = sink;
  dependencies.clock = clock;
  dependencies.stop_rules.token_bytes = [](TokenId) { return std::string_view(); };
  return dependencies;
}

}  // namespace

Replica::Replica(const ReplicaOptions& options, TimePoint now)
    : options_(options),
      block_bytes_(static_cast<int64_t>(options.layouts[0].BlockBytes())),
      clock_(now),
      runner_(&options.times, options.layouts[0].block_tokens, options.overhead, &clock_),
      arena_(static_cast<size_t>(options.kv_bytes),
             KvCacheManager::SlabBytes(options.layouts, static_cast<size_t>(options.kv_bytes))),
      kv_(options.layouts, &arena_, options.engine.InFlightTokens(runner_.in_flight_depth())),
      engine_(options.engine, Dependencies(&runner_, &kv_, this, &clock_)),
      unseen_tokens_(options.tenants.size()) {
  QUIRE_CHECK(options.layouts.size() == 1) << "a model with windows";
  if (options.prefix_cache) kv_.EnablePrefixCache();
  const absl::Status status = engine_.SetTenants(options.tenants);
  QUIRE_CHECK(status.ok()) << status.ToString();
  engine_.Step();  // which takes the tenants
}

Replica::~Replica() { Abort(); }

absl::Status Replica::Submit(Request request, RequestRecord record, TimePoint now) {
  request.id = engine_.NextRequestId();
  request.arrival = now;
  const RequestId id = request.id;
  const size_t tenant = request.tenant.value();
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  record.result.messages.reserve(
      static_cast<size_t>(std::min(request.sampling.max_tokens, kMostReserved)));
  if (absl::Status status = engine_.Submit(std::move(request)); !status.ok()) return status;
  unseen_tokens_[tenant] += prompt;
  live_.emplace(id, std::move(record));
  return absl::OkStatus();
}

std::optional<TimePoint> Replica::Step(TimePoint now) {
  QUIRE_CHECK(now >= clock_.Now()) << "a step before the last one has ended";
  clock_.AdvanceTo(now);
  std::fill(unseen_tokens_.begin(), unseen_tokens_.end(), 0);
  if (!engine_.Step()) {
    // Else it would never be asked again, and they would never end.
    QUIRE_CHECK(engine_.live_requests() == 0) << "requests wait while nothing runs";
    return std::nullopt;
  }
  ++counts_.steps;
  counts_.step_seconds += ToSeconds(clock_.Now() - now);
  return clock_.Now();
}

void Replica::Abort() {
  if (engine_.live_requests() == 0) return;
  engine_.AbortAll();
  engine_.Step();
}

void Replica::Deliver(std::vector<TokenEvent> events) {
  const TimePoint seen = clock_.Now() + options_.one_way;
  for (const TokenEvent& event : events) {
    const auto it = live_.find(event.request);
    CallResult& result = it->second.result;
    if (event.token >= 0) result.messages.push_back({.at = seen, .tokens = 1});
    if (event.finish == nullptr) continue;
    result.ended = seen;
    result.output_tokens = event.finish->generated_tokens;
    if (event.finish->reason == FinishReason::kShutdown) {
      result.outcome = Outcome::kUnfinished;
      result.code = "unfinished";
    } else if (!event.finish->status.ok()) {
      result.outcome = Outcome::kFailed;
      result.code = absl::StatusCodeToString(event.finish->status.code());
      result.detail = std::string(event.finish->status.message());
    }
    ended_.push_back(std::move(it->second));
    live_.erase(it);
  }
}

void Replica::Describe(ReplicaState* state) const {
  state->load = 0;
  state->tenants.resize(unseen_tokens_.size());
  for (size_t i = 0; i < unseen_tokens_.size(); ++i) {
    const TenantLoad load = engine_.scheduler().Load(TenantId(static_cast<uint32_t>(i)));
    const int64_t kv = load.kv_bytes / block_bytes_ * options_.layouts[0].block_tokens;
    state->tenants[i] = {.tokens = kv + load.waiting_tokens + unseen_tokens_[i],
                         .waiting = load.waiting,
                         .cost = load.cost};
    state->load += state->tenants[i].tokens;
  }
}

double Replica::KvUse() const {
  const KvClassSnapshot blocks = kv_.cache_class(0).Snapshot();
  return static_cast<double>(blocks.active_blocks) / static_cast<double>(blocks.total_blocks);
}

ReplicaCounts Replica::counts() const {
  ReplicaCounts counts = counts_;
  const KvSnapshot kv = kv_.Snapshot();
  counts.prefix_queried_tokens = kv.prefix_queried_tokens;
  counts.prefix_hit_tokens = kv.prefix_hit_tokens;
  for (size_t i = 0; i < unseen_tokens_.size(); ++i) {
    counts.preempted += engine_.scheduler().Load(TenantId(static_cast<uint32_t>(i))).preempted;
  }
  return counts;
}

}  // namespace quire::cli
