#include "core/engine/engine.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/sample/logit_edits.h"
#include "core/sample/sampling_rules.h"

namespace quire {
namespace {

constexpr Duration kAllTenantsPeriod = std::chrono::seconds(1);

}  // namespace

Engine::Engine(const EngineOptions& options, EngineDependencies dependencies)
    : options_(options),
      runner_(dependencies.runner),
      kv_(dependencies.kv),
      sink_(dependencies.sink),
      clock_(dependencies.clock),
      stop_rules_(std::move(dependencies.stop_rules)),
      inbox_(options),
      scheduler_({.max_step_tokens = options.max_step_tokens,
                  .max_running_sequences = options.max_running_requests,
                  .max_scored_tokens = options.max_scored_tokens,
                  .max_prefill_beside_decode = options.max_prefill_beside_decode,
                  .overcommit = options.overcommit,
                  .max_preemptions = options.max_preemptions,
                  .ageing = options.ageing,
                  .swap_seconds_per_byte = dependencies.swap_seconds_per_byte,
                  .max_prefix_wait_steps = options.max_prefix_wait_steps},
                 kv_) {
  const absl::Status valid = options.Validate();
  QUIRE_CHECK(valid.ok()) << valid.ToString();
  // The last token's KV is never needed.
  const int64_t limit = options.max_context_tokens;
  longest_request_ = std::min(limit, kv_->LongestSequence(limit) + 1);
  kv_bytes_ = kv_->TotalBytes();
  Count(TenantId()).name = scheduler_.tenants()[0].name;
  PublishStats();
}

Engine::~Engine() {
  QUIRE_CHECK(live_requests() == 0) << "requests are live; drain the engine first";
}

absl::Status Engine::Submit(Request request) {
  std::vector<Request> one;
  one.push_back(std::move(request));
  return Submit(std::move(one));
}

absl::Status Engine::Submit(std::vector<Request> requests) {
  if (requests.empty()) return absl::OkStatus();
  const TenantId tenant = requests[0].tenant;
  QUIRE_ASSIGN_OR_RETURN(const int64_t kv_limit, inbox_.KvLimit(tenant, kv_bytes_));
  if (requests.size() > static_cast<size_t>(options_.max_queued_requests)) {
    inbox_.CountTooLong(tenant, requests.size());
    return Refuse(absl::StatusCode::kInvalidArgument,
                  absl::StrCat(requests.size(), " answers at once are more than the ",
                               options_.max_queued_requests, " requests that this server queues"),
                  {.reason = "TOO_MANY_ANSWERS"});
  }
  for (const Request& request : requests) {
    if (absl::Status status = CheckFits(request, kv_limit); !status.ok()) {
      inbox_.CountTooLong(tenant, requests.size());
      return status;
    }
  }
  return inbox_.Submit(std::move(requests), &live_requests_);
}

// What could never run is refused at once.
absl::Status Engine::CheckFits(const Request& request, int64_t kv_limit) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const int64_t total = prompt + request.sampling.max_tokens;
  if (total > longest_request_) {
    return Refuse(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("prompt (", prompt, " tokens) and max_tokens (", request.sampling.max_tokens,
                     ") together exceed the limit of ", longest_request_, " tokens"),
        {.reason = "TOO_LONG"});
  }
  const int64_t bytes = kv_->BytesOf(kv_->PromiseFor(total - 1));
  if (bytes <= kv_limit) return absl::OkStatus();
  return Refuse(
      absl::StatusCode::kInvalidArgument,
      absl::StrCat("prompt (", prompt, " tokens) and max_tokens (", request.sampling.max_tokens,
                   ") together need ", bytes, " bytes of KV, and the tenant may have ", kv_limit,
                   "; ask for about ", total * kv_limit / bytes, " tokens of both at most"),
      {.reason = "TENANT_KV_LIMIT"});
}

void Engine::Cancel(RequestId id) { inbox_.Cancel(id); }

bool Engine::Step() {
  // In this order, so that no request has arrived after "now".
  EngineInbox::Messages messages = inbox_.Take(clock_->Now());
  now_ = clock_->Now();
  const TimePoint began = now_;
  runner_time_ = Duration::zero();
  Handle(std::move(messages));
  ExpireDeadlines();
  SetAsidePaused();
  AdmitWaiting();
  const bool launched = LaunchNext();
  const auto depth = static_cast<size_t>(runner_->in_flight_depth());
  const bool complete = launched ? in_flight_.size() > depth : !in_flight_.empty();
  if (complete) CompleteOldest();
  const bool worked = launched || complete;
  if (!worked || now_ - all_tenants_counted_ >= kAllTenantsPeriod) CountAllTenants();
  PublishStats();
  DeliverEvents();
  const bool moved = !worked && WaitForTransfer();
  // Published with the next step, as publishing and delivering are part of it.
  stats_.forward_seconds += ToSeconds(runner_time_);
  const double schedule_seconds = ToSeconds(clock_->Now() - began - runner_time_);
  stats_.schedule_seconds += schedule_seconds;
  if (worked) stats_.schedule_time.Observe(kSchedulerDurationEdges, schedule_seconds);
  return worked || moved;
}

// Somebody may wait for what is copied.
bool Engine::WaitForTransfer() {
  const TimePoint since = clock_->Now();
  const bool ended = kv_->WaitForTransfer();
  runner_time_ += clock_->Now() - since;
  return ended;
}

void Engine::Handle(EngineInbox::Messages messages) {
  if (messages.tenants.has_value()) ApplyTenants(*std::move(messages.tenants));
  for (const std::optional<TenantId> tenant : messages.flushes) kv_->FlushPrefixes(tenant);
  for (Request& request : messages.submits) Enqueue(std::move(request));
  for (RequestId id : messages.cancels) {
    // Unknown ids have ended already: a cancel may cross the last token.
    if (const auto it = live_.find(id); it != live_.end()) {
      Finish(it->second.sequence, FinishReason::kCancelled,
             absl::CancelledError("the request was cancelled"), TokenEvent{.request = id});
    }
  }
  for (const auto& [id, paused] : messages.pauses) ApplyPause(id, paused);
  if (messages.abort_all) {
    FinishAll(FinishReason::kShutdown,
              Refuse(absl::StatusCode::kUnavailable, "the server is shutting down",
                     {.reason = "DRAINING"}));
  }
  for (const EngineInbox::CheckDone& done : messages.checks) done(Violations());
}

void Engine::Enqueue(Request request) {
  const RequestId id = request.id;
  auto sequence = std::make_unique<Sequence>(scheduler_.NextSequenceId(), std::move(request));
  StopChecker stop(&stop_rules_, &sequence->request().sampling);
  const bool inserted = live_.emplace(id, LiveRequest{sequence.get(), std::move(stop)}).second;
  QUIRE_CHECK(inserted) << "request " << id.value() << " was submitted twice";
  ++stats_.accepted;
  ++Count(sequence->request().tenant).accepted;
  Sequence* const waiting = sequence.get();
  if (waiting->request().deadline != kNoDeadline) {
    deadlines_.emplace(waiting->request().deadline, id);
  }
  scheduler_.Enqueue(std::move(sequence));
  // A submit may cross the failure of the device, or a change of the tenants' policies.
  if (failed()) {
    Finish(waiting, FinishReason::kError, absl::UnavailableError("the device has failed"),
           TokenEvent{.request = id});
  } else if (!scheduler_.CanEverRun(*waiting)) {
    FinishImpossible(waiting);
  }
}

void Engine::ExpireDeadlines() {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    const RequestId id = deadlines_.begin()->second;
    Finish(live_.at(id).sequence, FinishReason::kDeadline,
           absl::DeadlineExceededError("the request's deadline has passed"),
           TokenEvent{.request = id});
  }
}

void Engine::AdmitWaiting() {
  const std::vector<Sequence*> started = scheduler_.Admit(now_, last_launched_);
  // First, as one of them may have started again.
  CountPreempted();
  for (const Sequence* sequence : started) {
    const Request& request = sequence->request();
    inbox_.OnLeftQueue(request, /*started=*/true);
    if (sequence->preemptions() > 0) continue;
    const double queue_seconds = ToSeconds(now_ - request.arrival);
    stats_.queue_time.Observe(kTimeToFirstTokenEdges, queue_seconds);
    TenantStats& tenant = Count(request.tenant);
    ++tenant.started;
    tenant.queue_seconds += queue_seconds;
    tenant.prompt_tokens += request.prompt.size();
    tenant.cached_tokens += static_cast<uint64_t>(sequence->cached_tokens());
  }
  scheduler_.MakeRoom(last_launched_);
  CountPreempted();
}

void Engine::CountPreempted() {
  for (const Sequence* sequence : scheduler_.TakePreempted()) {
    inbox_.OnPreempted(sequence->request());
    Count(sequence->request().tenant);
  }
}

bool Engine::LaunchNext() {
  if (failed()) return false;
  StepPlan plan = scheduler_.PlanStep(StepId(last_launched_.value() + 1));
  if (plan.empty()) return false;
  if (absl::Status status = LaunchPlan(std::move(plan)); !status.ok()) {
    FailDevice(status);
    return false;
  }
  return true;
}

absl::Status Engine::LaunchPlan(StepPlan plan) {
  KvReservation reservation = ReserveAndFill(&plan);
  InFlightStep& step = in_flight_.emplace_back();
  step.plan = std::move(plan);
  if (!spare_inputs_.empty()) {
    step.input = std::move(spare_inputs_.back());
    spare_inputs_.pop_back();
  }
  std::array<BlockAddressing, kernels::kMaxCacheClasses> addressing;
  for (size_t c = 0; c < kv_->num_classes(); ++c) {
    addressing[c] = {.units_per_block = kv_->cache_class(c).units_per_block(),
                     .blocks_per_slab = kv_->cache_class(c).blocks_per_slab(),
                     .slab_units = kv_->cache_class(c).slab_units()};
  }
  BuildBatchInput(step.plan, std::span(addressing).first(kv_->num_classes()), &step.input);
  step.launched_at = clock_->Now();
  absl::Status status = Launch(step.input);
  runner_time_ += clock_->Now() - step.launched_at;
  QUIRE_RETURN_IF_ERROR(status);
  reservation.Commit();
  scheduler_.OnLaunched(step.plan);
  for (const SequenceStep& planned : step.plan.sequences) Count(planned.tenant);
  last_launched_ = step.plan.id;
  return absl::OkStatus();
}

KvReservation Engine::ReserveAndFill(StepPlan* plan) {
  std::vector<KvNeed> needs;
  needs.reserve(plan->sequences.size());
  for (const SequenceStep& step : plan->sequences) {
    needs.push_back({step.sequence, step.start + step.num_tokens});
  }
  KvReservation reservation = kv_->Reserve(needs);
  for (SequenceStep& step : plan->sequences) {
    for (size_t c = 0; c < kv_->num_classes(); ++c) {
      step.blocks[c] = kv_->Table(step.sequence, c).blocks;
    }
  }
  FillSampling(plan);
  return reservation;
}

void Engine::FillSampling(StepPlan* plan) {
  edits_.clear();
  for (SequenceStep& step : plan->sequences) {
    if (!step.sample) continue;
    const Sequence& sequence = *scheduler_.Find(step.sequence);
    const SamplingParams& params = sequence.request().sampling;
    const DrawState state{.tokens = sequence.tokens(),
                          .generated = sequence.generated_tokens() + sequence.pending_samples(),
                          .last_on_device = step.feedback_row >= 0};
    step.sampling = MakeSamplingRow(params, state.generated);
    step.history = PenalisedHistory(params, state.tokens, sequence.prompt_tokens());
    step.history_generated = step.history.empty() ? 0 : sequence.generated_tokens();
    step.allowed = params.allowed_token_ids;
    step.edits_start = static_cast<int32_t>(edits_.size());
    AppendLogitEdits(params, stop_rules_.eos_token_ids, state, &edits_);
    step.edits_count = static_cast<int32_t>(edits_.size()) - step.edits_start;
  }
  plan->edits = edits_;
}

absl::Status Engine::Launch(const BatchInput& input) {
  if (absl::Status status = runner_->LaunchForward(input); !status.ok()) return status;
  return runner_->LaunchSample(input);
}

void Engine::CompleteOldest() {
  const TimePoint waiting_since = clock_->Now();
  absl::StatusOr<std::span<const kernels::SampledToken>> tokens = runner_->Complete();
  now_ = clock_->Now();
  runner_time_ += now_ - waiting_since;
  if (!tokens.ok()) return FailDevice(tokens.status());

  InFlightStep step = std::move(in_flight_.front());
  in_flight_.pop_front();
  CountStep(step.plan, now_ - step.launched_at);
  // Small chunks would tell what decode rows cost.
  if (step.plan.PrefillTokens() >= std::max(options_.max_step_tokens / 4, 1)) {
    // While the step before ran, this one waited.
    prefill_cost_.OnStep(now_ - std::max(step.launched_at, stats_.last_step), step.plan.num_tokens);
    scheduler_.SetRecomputeCost(prefill_cost_.SecondsPerToken());
  }
  stats_.last_step = now_;
  completed_steps_.fetch_add(1, std::memory_order_relaxed);
  kv_->StepCompleted(step.plan.id);
  Commit(step.plan, *tokens);
  spare_inputs_.push_back(std::move(step.input));
}

void Engine::Finish(Sequence* sequence, FinishReason reason, absl::Status status,
                    TokenEvent event) {
  const Request& request = sequence->request();
  auto finish = std::make_unique<FinishInfo>();
  finish->reason = reason;
  finish->status = std::move(status);
  finish->prompt_tokens = sequence->prompt_tokens();
  finish->cached_tokens = sequence->cached_tokens();
  finish->generated_tokens = sequence->generated_tokens();
  finish->trim_bytes = live_.at(request.id).stop.trim_bytes();
  const bool waits = sequence->status() == RequestStatus::kWaiting;
  const bool never_started = waits && sequence->preemptions() == 0;
  finish->queue_time = (never_started ? now_ : sequence->started_at()) - request.arrival;
  if (sequence->generated_tokens() > 0) {
    finish->time_to_first_token = sequence->first_token_at() - request.arrival;
  }
  event.finish = std::move(finish);
  events_.push_back(std::move(event));

  ++stats_.finished[static_cast<size_t>(reason)];
  ++Count(request.tenant).finished[static_cast<size_t>(reason)];
  CountEnd(*sequence);
  Resume(&live_.at(request.id));
  if (waits) inbox_.OnLeftQueue(request, /*started=*/false);
  if (request.deadline != kNoDeadline) deadlines_.erase({request.deadline, request.id});
  live_.erase(request.id);
  scheduler_.Release(sequence->id(), last_launched_)->Finish();
}

void Engine::FinishAll(FinishReason reason, const absl::Status& status) {
  for (Sequence* sequence : scheduler_.Live()) {
    Finish(sequence, reason, status, TokenEvent{.request = sequence->request().id});
  }
}

void Engine::FailDevice(const absl::Status& status) {
  failed_.store(true, std::memory_order_release);
  inbox_.Close("the device has failed; the server must be restarted", "DEVICE_FAILED");
  in_flight_.clear();
  FinishAll(FinishReason::kError, Refuse(absl::StatusCode::kUnavailable,
                                         absl::StrCat("the device has failed: ", status.message()),
                                         {.reason = "DEVICE_FAILED"}));
  kv_->StepCompleted(StepId(last_launched_.value()));
}

void Engine::DeliverEvents() {
  if (events_.empty()) return;
  int64_t ended = 0;
  for (const TokenEvent& event : events_) ended += event.finish != nullptr ? 1 : 0;
  sink_->Deliver(std::exchange(events_, {}));
  // After delivery: whoever sees no live request knows that every terminal event is out.
  live_requests_.fetch_sub(ended, std::memory_order_acq_rel);
}

EngineStats Engine::Stats() const {
  EngineStats stats = stats_board_.Read();
  const EngineInbox::Rejections rejections = inbox_.rejections();
  stats.rejected_queue_full = rejections.queue_full;
  stats.rejected_tenant_queue_full = rejections.tenant_queue_full;
  stats.rejected_deadline = rejections.deadline;
  stats.rejected_draining = rejections.draining;
  stats.rejected_too_long = rejections.too_long;
  return stats;
}

void Engine::PublishStats() {
  stats_.waiting = scheduler_.num_waiting();
  stats_.waiting_tokens = scheduler_.waiting_tokens();
  stats_.waits = scheduler_.Waits();
  stats_.running = scheduler_.num_running();
  stats_.paused = paused_requests_.load(std::memory_order_relaxed);
  stats_.kv = kv_->Snapshot();
  stats_.memory = runner_->memory();
  stats_board_.Publish(stats_);
  PublishTenants();
}

}  // namespace quire
