#include "server/cli/load/load_results.h"

#include <algorithm>
#include <utility>

#include "server/cli/load/load_laws.h"

namespace quire::cli {
namespace {

// A day; what comes later is in the totals alone.
constexpr int64_t kLongestSeries = 86400;

// The mean time per token behind the first message; nothing for an answer in one message.
std::optional<double> PerToken(const CallResult& result) {
  if (result.messages.size() < 2) return std::nullopt;
  const int64_t later_tokens = result.output_tokens - result.messages.front().tokens;
  if (later_tokens < 1) return std::nullopt;
  return ToSeconds(result.messages.back().at - result.messages.front().at) /
         static_cast<double>(later_tokens);
}

// The part of the answer that a message's tokens stand for.
double TokensPerCounted(const CallResult& result) {
  int64_t counted = 0;
  for (const TokenArrival& message : result.messages) counted += message.tokens;
  if (counted == 0) return 0;
  return static_cast<double>(result.output_tokens) / static_cast<double>(counted);
}

}  // namespace

LoadGroup::LoadGroup(std::string group_name, size_t max_samples, uint64_t seed)
    : name(std::move(group_name)),
      ttft(max_samples, DeriveSeed(seed, "ttft", 0)),
      inter_token(max_samples, DeriveSeed(seed, "inter_token", 0)),
      per_token(max_samples, DeriveSeed(seed, "per_token", 0)),
      end_to_end(max_samples, DeriveSeed(seed, "end_to_end", 0)),
      rejection(max_samples, DeriveSeed(seed, "rejection", 0)) {}

LoadCollector::LoadCollector(const std::vector<TenantSpec>& tenants, const Slo& slo,
                             const Window& window, size_t max_samples, uint64_t seed)
    : slo_(slo),
      window_(window),
      total_("all", max_samples, DeriveSeed(seed, "total", 0)),
      lag_(max_samples, DeriveSeed(seed, "lag", 0)) {
  for (const TenantSpec& tenant : tenants) {
    tenants_.emplace_back(tenant.name, max_samples, DeriveSeed(seed, "tenant", tenants_.size()));
  }
}

bool LoadCollector::MetSlo(const RequestRecord& record) const {
  const CallResult& result = record.result;
  if (result.outcome != Outcome::kOk || result.messages.empty()) return false;
  const double ttft = ToSeconds(result.messages.front().at - record.scheduled);
  if (slo_.ttft_seconds.has_value() && ttft > *slo_.ttft_seconds) return false;
  return !slo_.itl_seconds.has_value() || PerToken(result).value_or(0) <= *slo_.itl_seconds;
}

void LoadCollector::Add(const RequestRecord& record) {
  LoadGroup& tenant = tenants_[static_cast<size_t>(record.tenant)];
  for (LoadGroup* group : {&tenant, &total_}) {
    if (record.measured) AddMeasured(record, group);
    AddAmounts(record, group);
  }
  if (record.measured) lag_.Add(ToSeconds(record.result.sent - record.scheduled));
  if (record.result.outcome == Outcome::kFailed) {
    last_failure_ = record.result.code + ": " + record.result.detail;
  }
  AddToSeries(record);
}

void LoadCollector::AddMeasured(const RequestRecord& record, LoadGroup* group) const {
  const CallResult& result = record.result;
  const double until_end = ToSeconds(result.ended - record.scheduled);
  ++group->sent;
  ++group->by_code[result.code];
  // First tokens count whatever came of the request: leaving out those that were cut off would
  // favour a server that is too slow to finish.
  if (!result.messages.empty()) {
    group->ttft.Add(ToSeconds(result.messages.front().at - record.scheduled));
  }
  for (size_t i = 1; i < result.messages.size(); ++i) {
    group->inter_token.Add(ToSeconds(result.messages[i].at - result.messages[i - 1].at));
  }
  if (const auto per_token = PerToken(result)) group->per_token.Add(*per_token);
  if (MetSlo(record)) ++group->met_slo;
  switch (result.outcome) {
    case Outcome::kOk:
      ++group->ok;
      group->end_to_end.Add(until_end);
      break;
    case Outcome::kRejected:
      ++group->rejected;
      group->retry_hints += result.retry_hint ? 1 : 0;
      group->rejection.Add(until_end);
      break;
    case Outcome::kFailed:
      ++group->failed;
      break;
    case Outcome::kUnfinished:
      ++group->unfinished;
      break;
  }
}

void LoadCollector::AddAmounts(const RequestRecord& record, LoadGroup* group) const {
  const CallResult& result = record.result;
  const double scale = TokensPerCounted(result);
  for (const TokenArrival& message : result.messages) {
    if (InWindow(message.at)) group->output_tokens += message.tokens * scale;
  }
  if (!result.messages.empty() && InWindow(result.messages.front().at)) {
    group->input_tokens += record.prompt_tokens;
  }
  if (result.outcome != Outcome::kOk || !InWindow(result.ended)) return;
  ++group->completed_in_window;
  if (MetSlo(record)) ++group->good_in_window;
}

LoadSecond* LoadCollector::SecondOf(TimePoint time) {
  if (time < window_.begin) return nullptr;
  const int64_t second =
      std::chrono::duration_cast<std::chrono::seconds>(time - window_.begin).count();
  if (second >= kLongestSeries) return nullptr;
  const auto index = static_cast<size_t>(second);
  if (index >= series_.size()) series_.resize(index + 1);
  return &series_[index];
}

void LoadCollector::AddToSeries(const RequestRecord& record) {
  const CallResult& result = record.result;
  if (LoadSecond* second = SecondOf(record.scheduled)) ++second->due;
  const double scale = TokensPerCounted(result);
  for (const TokenArrival& message : result.messages) {
    LoadSecond* second = SecondOf(message.at);
    if (second == nullptr) continue;
    second->output_tokens += message.tokens * scale;
    if (&message == &result.messages.front()) {
      second->worst_ttft = std::max(second->worst_ttft, ToSeconds(message.at - record.scheduled));
    }
  }
  LoadSecond* end = SecondOf(result.ended);
  if (end == nullptr) return;
  end->ok += result.outcome == Outcome::kOk ? 1 : 0;
  end->rejected += result.outcome == Outcome::kRejected ? 1 : 0;
  end->failed += result.outcome == Outcome::kFailed ? 1 : 0;
}

}  // namespace quire::cli
