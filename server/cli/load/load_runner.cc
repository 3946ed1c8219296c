#include "server/cli/load/load_runner.h"

#include <algorithm>
#include <utility>

namespace quire::cli {
namespace {

constexpr Duration kProgressInterval = std::chrono::seconds(1);

}  // namespace

LoadRunner::LoadRunner(const RunnerOptions& options, LoadSchedule* schedule,
                       const PromptSource* prompts, LoadClient* client, LoadCollector* collector,
                       std::function<void(const RunProgress&)> progress)
    : options_(options),
      schedule_(schedule),
      prompts_(prompts),
      client_(client),
      collector_(collector),
      progress_(std::move(progress)) {}

RunSummary LoadRunner::Run(TimePoint start, const Window& window) {
  start_ = last_end_ = start;
  next_progress_ = start + kProgressInterval;
  drained_by_ = start + schedule_->length() + options_.drain;
  std::optional<RunEnd> early_end;
  while (true) {
    Absorb();
    early_end = EarlyEnd();
    const TimePoint now = clock_.Now();
    const TimePoint due = NextDue(now);
    if (early_end.has_value() || now >= drained_by_) break;
    if (!schedule_->NextAt().has_value() && counts_.in_flight == 0) break;
    ShowProgress(now);
    if (due <= now) {
      SendOne();
    } else {
      Wait(std::min({due, next_progress_, drained_by_}));
    }
  }
  const TimePoint stopped = clock_.Now();
  CancelRest();
  CountUnsent(stopped);
  summary_.end = early_end.value_or(RunEnd::kComplete);
  // A number of requests ends the window with the last of them.
  const TimePoint end = window.end == TimePoint::max() ? last_end_ : std::min(stopped, window.end);
  summary_.window_seconds = std::max(0.0, ToSeconds(end - window.begin));
  return summary_;
}

std::optional<RunEnd> LoadRunner::EarlyEnd() {
  MutexLock lock(&mu_);
  if (interrupted_) return RunEnd::kInterrupted;
  if (failures_in_a_row_ >= options_.max_failures) return RunEnd::kGaveUp;
  return std::nullopt;
}

void LoadRunner::Interrupt() {
  MutexLock lock(&mu_);
  interrupted_ = true;
}

TimePoint LoadRunner::NextDue(TimePoint now) {
  if (schedule_->exhausted()) drained_by_ = std::min(drained_by_, now + options_.drain);
  const auto next = schedule_->NextAt();
  if (!next.has_value()) return TimePoint::max();
  const TimePoint due = start_ + *next;
  if (counts_.in_flight < options_.max_in_flight) return due;
  holding_back_ = holding_back_ || due <= now;
  return TimePoint::max();
}

RequestRecord LoadRunner::RecordOf(const PlannedRequest& planned) const {
  RequestRecord record;
  record.tenant = planned.tenant;
  record.prompt_tokens = planned.prefix_tokens + planned.own_tokens;
  record.scheduled = start_ + planned.at;
  record.measured = planned.measured;
  return record;
}

void LoadRunner::SendOne() {
  const PlannedRequest planned = schedule_->Take();
  if (holding_back_) ++summary_.held_back;
  holding_back_ = false;
  const RequestRecord record = RecordOf(planned);
  ClientRequest request;
  request.tenant = planned.tenant;
  request.prompt_ids = prompts_->Make(static_cast<uint64_t>(planned.tenant), planned.number,
                                      planned.prefix_tokens, planned.own_tokens);
  request.output_tokens = planned.output_tokens;
  ++counts_.in_flight;
  client_->Start(std::move(request), [this, record](CallResult result) {
    RequestRecord ended = record;
    ended.result = std::move(result);
    MutexLock lock(&mu_);
    ended_.push_back(std::move(ended));
  });
}

void LoadRunner::Wait(TimePoint until) {
  const TimePoint now = clock_.Now();
  MutexLock lock(&mu_);
  mu_.AwaitFor(until - now, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return interrupted_ || !ended_.empty();
  });
}

void LoadRunner::Absorb() {
  std::deque<RequestRecord> ended;
  {
    MutexLock lock(&mu_);
    ended.swap(ended_);
  }
  for (RequestRecord& record : ended) {
    if (cancelling_ && record.result.outcome != Outcome::kOk) {
      record.result.outcome = Outcome::kUnfinished;
      record.result.code = "unfinished";
    }
    Account(record);
  }
}

void LoadRunner::Account(const RequestRecord& record) {
  --counts_.in_flight;
  const Outcome outcome = record.result.outcome;
  last_end_ = std::max(last_end_, record.result.ended);
  counts_.ok += outcome == Outcome::kOk ? 1 : 0;
  counts_.rejected += outcome == Outcome::kRejected ? 1 : 0;
  counts_.failed += outcome == Outcome::kFailed ? 1 : 0;
  failures_in_a_row_ = outcome == Outcome::kFailed ? failures_in_a_row_ + 1 : 0;
  schedule_->Release(record.tenant, record.result.ended - start_, outcome != Outcome::kOk);
  collector_->Add(record);
}

void LoadRunner::ShowProgress(TimePoint now) {
  if (now < next_progress_) return;
  counts_.seconds = ToSeconds(now - start_);
  if (progress_) progress_(counts_);
  next_progress_ = now + kProgressInterval;
}

void LoadRunner::CancelRest() {
  cancelling_ = true;
  if (counts_.in_flight > 0) client_->CancelAll();
  while (counts_.in_flight > 0) {
    {
      MutexLock lock(&mu_);
      mu_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !ended_.empty(); });
    }
    Absorb();
  }
}

void LoadRunner::CountUnsent(TimePoint stopped) {
  for (auto at = schedule_->NextAt(); at.has_value() && start_ + *at <= stopped;
       at = schedule_->NextAt()) {
    RequestRecord record = RecordOf(schedule_->Take());
    record.result.sent = record.result.ended = stopped;
    record.result.outcome = Outcome::kUnfinished;
    record.result.code = "never sent";
    ++summary_.held_back;
    collector_->Add(record);
  }
}

}  // namespace quire::cli
