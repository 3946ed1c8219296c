#include "server/cli/fleet/fleet.h"

#include <algorithm>
#include <cmath>

namespace quire::cli {
namespace {

// An epoch is no time that anything happens at.
constexpr TimePoint kStart = TimePoint(std::chrono::hours(1));

Window MeasuredPart(const LoadPlan& plan) {
  const TimePoint begin = kStart + plan.warmup;
  return {begin, plan.max_requests > 0 ? TimePoint::max() : begin + plan.duration};
}

std::vector<double> Weights(const TenantTable& tenants) {
  std::vector<double> weights;
  for (const TenantPolicy& tenant : tenants) weights.push_back(tenant.weight);
  return weights;
}

}  // namespace

// Replicas are not asked all at once, as nobody starts all scrapes at one time.
Fleet::Member::Member(const FleetOptions& options, size_t number, TimePoint start)
    : replica(options.replica, start),
      state(options.view_period,
            start + options.view_period * static_cast<int64_t>(number) /
                        static_cast<int64_t>(options.replicas),
            options.load.tenants.size()),
      cost(options.load.tenants.size()) {}

Fleet::Fleet(const FleetOptions& options, const PromptSource* prompts, Router* router)
    : options_(options),
      prompts_(prompts),
      router_(router),
      start_(kStart),
      window_(MeasuredPart(options.load)),
      schedule_(options.load, options.replica.engine.max_context_tokens),
      results_(options.load.tenants, options.slo, window_, options.max_samples, options.load.seed),
      fairness_(Weights(options.replica.tenants), options.replicas, window_.begin, window_.end),
      last_end_(start_) {
  for (size_t i = 0; i < options.replicas; ++i) {
    members_.push_back(std::make_unique<Member>(options, i, start_));
    view_.push_back(&members_.back()->state.seen());
  }
}

FleetResult Fleet::Run(const std::function<void(double)>& progress) {
  const double length = ToSeconds(schedule_.length());
  TimePoint drained_by = start_ + schedule_.length() + options_.drain;
  TimePoint now = start_;
  for (uint64_t events = 0;; ++events) {
    const TimePoint arrival = NextArrival();
    const StepEvent step = events_.empty() ? StepEvent{TimePoint::max(), true, 0} : events_.top();
    if (schedule_.exhausted()) drained_by = std::min(drained_by, now + options_.drain);
    if (std::min(arrival, step.at) > drained_by) break;
    now = std::min(arrival, step.at);
    if (progress && events % 4096 == 0) progress(std::min(1.0, ToSeconds(now - start_) / length));
    // What arrives when a step begins is in that step, and comes after what has just ended.
    if (arrival < step.at || (arrival == step.at && step.begins)) {
      Arrive(arrival);
      continue;
    }
    events_.pop();
    if (step.begins) {
      BeginStep(step.replica, step.at);
    } else {
      EndStep(step.replica, step.at);
    }
  }
  AbortAll();
  return Summarize(now);
}

TimePoint Fleet::NextArrival() const {
  const auto next = schedule_.NextAt();
  return next.has_value() ? start_ + *next + options_.replica.one_way : TimePoint::max();
}

RequestRecord Fleet::RecordOf(const PlannedRequest& planned) const {
  RequestRecord record;
  record.tenant = planned.tenant;
  record.prompt_tokens = planned.prefix_tokens + planned.own_tokens;
  record.scheduled = record.result.sent = start_ + planned.at;
  record.measured = planned.measured;
  return record;
}

void Fleet::Arrive(TimePoint at) {
  const PlannedRequest planned = schedule_.Take();
  const absl::Status status = Send(planned, at);
  if (status.ok()) return;
  RequestRecord record = RecordOf(planned);
  record.result.ended = at + options_.replica.one_way;
  record.result.outcome =
      status.code() == absl::StatusCode::kResourceExhausted ? Outcome::kRejected : Outcome::kFailed;
  record.result.code = absl::StatusCodeToString(status.code());
  record.result.detail = std::string(status.message());
  Account(record);
}

absl::Status Fleet::Send(const PlannedRequest& planned, TimePoint at) {
  const auto tenant = static_cast<size_t>(planned.tenant);
  const std::vector<uint32_t> prompt =
      prompts_->Make(tenant, planned.number, planned.prefix_tokens, planned.own_tokens);
  if (options_.view_period > Duration::zero()) {
    for (const auto& member : members_) member->state.Look(at);
  }
  const size_t number = router_->Choose({.tenant = tenant, .prompt = prompt}, view_);
  Request request;
  request.tenant = TenantId(static_cast<uint32_t>(planned.tenant));
  request.priority = options_.load.tenants[tenant].priority.value_or(0);
  request.prompt.assign(prompt.begin(), prompt.end());
  request.sampling.temperature = 0;
  request.sampling.max_tokens = planned.output_tokens;
  request.sampling.ignore_eos = true;
  Member& member = *members_[number];
  if (planned.measured) ++member.requests;
  absl::Status status = member.replica.Submit(std::move(request), RecordOf(planned), at);
  if (!status.ok()) return status;
  member.state.AddTokens(at, tenant, static_cast<int64_t>(prompt.size()));
  if (!std::exchange(member.steps, true)) events_.push({at, true, number});
  return status;
}

void Fleet::BeginStep(size_t number, TimePoint at) {
  Member& member = *members_[number];
  member.began = at;
  member.contended = fairness_.contended();
  const std::optional<TimePoint> end = member.replica.Step(at);
  member.steps = end.has_value();
  if (end.has_value()) {
    events_.push({*end, false, number});
    const double seconds = MeasuredSeconds(at, *end);
    member.busy_seconds += seconds;
    member.kv_seconds += member.replica.KvUse() * seconds;
  }
  for (const RequestRecord& record : member.replica.TakeEnded()) Account(record);
}

void Fleet::EndStep(size_t number, TimePoint at) {
  Member& member = *members_[number];
  member.replica.Describe(&scratch_);
  member.state.Update(at, scratch_);
  for (size_t t = 0; t < member.cost.size(); ++t) {
    const double cost = scratch_.tenants[t].cost;
    const double more = cost - std::exchange(member.cost[t], cost);
    if (member.contended) fairness_.AddCost(number, t, more, member.began);
    fairness_.SetWaiting(number, t, scratch_.tenants[t].waiting, at);
  }
  events_.push({at, true, number});
}

void Fleet::Account(const RequestRecord& record) {
  last_end_ = std::max(last_end_, record.result.ended);
  schedule_.Release(record.tenant, record.result.ended - start_,
                    record.result.outcome != Outcome::kOk);
  results_.Add(record);
}

double Fleet::MeasuredSeconds(TimePoint from, TimePoint to) const {
  return std::max(0.0, ToSeconds(std::min(to, window_.end) - std::max(from, window_.begin)));
}

void Fleet::AbortAll() {
  for (const auto& member : members_) {
    member->replica.Abort();
    for (const RequestRecord& record : member->replica.TakeEnded()) Account(record);
  }
}

FleetResult Fleet::Summarize(TimePoint now) {
  FleetResult result(std::move(results_));
  now = std::max(now, last_end_);
  const TimePoint end = window_.end == TimePoint::max() ? last_end_ : std::min(now, window_.end);
  result.window_seconds = std::max(0.0, ToSeconds(end - window_.begin));
  SummarizeReplicas(&result);
  result.fairness = fairness_.Result();
  result.contended_seconds = fairness_.ContendedSeconds(now);
  return result;
}

void Fleet::SummarizeReplicas(FleetResult* result) const {
  const auto share = [](double part, double all) { return all > 0 ? part / all : 0; };
  const auto replicas = static_cast<double>(members_.size());
  double queried = 0, hit = 0, requests = 0, least = HUGE_VAL, most = 0, step_seconds = 0;
  for (const auto& member : members_) {
    const ReplicaCounts counts = member->replica.counts();
    result->steps += counts.steps;
    result->preempted += counts.preempted;
    step_seconds += counts.step_seconds;
    queried += static_cast<double>(counts.prefix_queried_tokens);
    hit += static_cast<double>(counts.prefix_hit_tokens);
    const double kv = share(member->kv_seconds, result->window_seconds);
    result->kv_mean += kv / replicas;
    result->kv_max = std::max(result->kv_max, kv);
    result->busy += share(member->busy_seconds, result->window_seconds) / replicas;
    const auto sent = static_cast<double>(member->requests);
    requests += sent;
    least = std::min(least, sent);
    most = std::max(most, sent);
  }
  result->step_seconds = share(step_seconds, static_cast<double>(result->steps));
  result->hit_ratio = share(hit, queried);
  result->least_requests = share(least * replicas, requests);
  result->most_requests = share(most * replicas, requests);
}

}  // namespace quire::cli
