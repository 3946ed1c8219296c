#include "server/cli/load/load_schedule.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire::cli {
namespace {

constexpr int32_t kAnyContext = std::numeric_limits<int32_t>::max() / 2;

// A tenant without a rate never draws; the law still wants one.
IntervalLaw Intervals(const TenantSpec& spec, uint64_t seed) {
  return {spec.rate > 0 ? spec.rate : 1, spec.burstiness, seed};
}

}  // namespace

absl::Status CheckFits(const LoadPlan& plan, const ServerLimits& limits) {
  if (limits.context_tokens == 0) return absl::OkStatus();
  for (const TenantSpec& tenant : plan.tenants) {
    const int64_t tokens =
        int64_t{tenant.prefix_tokens} + tenant.prompt.median + tenant.output.median;
    if (tokens <= limits.context_tokens) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tenant '", tenant.name, "' asks for ", tenant.prefix_tokens, " + ",
                     tenant.prompt.median, " + ", tenant.output.median,
                     " tokens of prefix, prompt and output, and the server's context has ",
                     limits.context_tokens));
  }
  return absl::OkStatus();
}

LoadSchedule::LoadSchedule(const LoadPlan& plan, int32_t context_tokens)
    : plan_(plan), context_tokens_(context_tokens > 0 ? context_tokens : kAnyContext) {
  for (size_t i = 0; i < plan.tenants.size(); ++i) {
    const TenantSpec& spec = plan.tenants[i];
    tenants_.push_back({.spec = spec,
                        .intervals = Intervals(spec, DeriveSeed(plan.seed, "arrivals", i)),
                        .lengths = std::mt19937_64(DeriveSeed(plan.seed, "lengths", i))});
    const auto tenant = static_cast<int32_t>(i);
    if (spec.rate > 0) PushNext(tenant);
    for (int32_t stream = 0; stream < spec.concurrency; ++stream) Push(tenant, Duration{});
  }
}

std::optional<Duration> LoadSchedule::NextAt() const {
  if (pending_.empty() || exhausted()) return std::nullopt;
  return pending_.top().at;
}

PlannedRequest LoadSchedule::Take() {
  QUIRE_CHECK(NextAt().has_value());
  const Arrival arrival = pending_.top();
  pending_.pop();
  Tenant& tenant = tenants_[static_cast<size_t>(arrival.tenant)];
  PlannedRequest request;
  request.tenant = arrival.tenant;
  request.number = tenant.taken++;
  request.at = arrival.at;
  request.prefix_tokens = tenant.spec.prefix_tokens;
  const int32_t room = context_tokens_ - tenant.spec.prefix_tokens;
  request.own_tokens = DrawLength(tenant.spec.prompt, room - 1, &tenant.lengths);
  request.output_tokens =
      DrawLength(tenant.spec.output, room - request.own_tokens, &tenant.lengths);
  request.measured = arrival.at >= plan_.warmup;
  if (request.measured) ++measured_;
  if (tenant.spec.rate > 0) PushNext(arrival.tenant);
  return request;
}

void LoadSchedule::Release(int32_t tenant, Duration at, bool pause) {
  if (tenants_[static_cast<size_t>(tenant)].spec.concurrency == 0) return;
  Push(tenant, at + (pause ? plan_.retry_pause : Duration{}));
}

void LoadSchedule::PushNext(int32_t tenant) {
  Tenant& source = tenants_[static_cast<size_t>(tenant)];
  source.last_at += source.intervals.Draw();
  Push(tenant, FromSeconds(source.last_at));
}

void LoadSchedule::Push(int32_t tenant, Duration at) {
  if (at < length()) pending_.push({at, tenant});
}

}  // namespace quire::cli
