#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/engine/engine_inbox.h"
#include "core/engine/engine_options.h"
#include "core/engine/engine_stats.h"
#include "core/engine/output_sink.h"
#include "core/engine/prefill_cost.h"
#include "core/kv/kv_cache_manager.h"
#include "core/model/batch_input.h"
#include "core/model/model_runner.h"
#include "core/request/request.h"
#include "core/request/sequence.h"
#include "core/request/tenant_policy.h"
#include "core/sample/stop_checker.h"
#include "core/sched/scheduler.h"

namespace quire {

// What the engine is built from. It owns none of it; all must outlive it.
struct EngineDependencies {
  ModelRunner* runner = nullptr;
  KvCacheManager* kv = nullptr;
  OutputSink* sink = nullptr;
  const Clock* clock = nullptr;
  double swap_seconds_per_byte = 0;  // see SchedulerOptions
  StopRules stop_rules;              // end tokens of the model and the bytes of each token
};

// Turns accepted requests into tokens, one step at a time. A step is a transaction:
//
//   drain inbox -> expire -> admit -> make room -> plan -> reserve -> launch -> complete -> commit
//     -> deliver
//
// Before launch a step can be rolled back; after it, it completes or the device has failed. With a
// runner of in-flight depth d, up to d steps are running when the next one is planned.
//
// Threads: Submit, Cancel, SetPaused, SetTenants, FlushPrefixes, CheckInvariants, NextRequestId,
// StopAccepting, accepting, AbortAll, Wake, Stats, Tenants, live_requests, failed and Progress from
// any thread; everything else from the engine thread alone (see EngineLoop).
class Engine {
 public:
  Engine(const EngineOptions& options, EngineDependencies dependencies);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  RequestId NextRequestId() { return RequestId(next_request_id_.fetch_add(1) + 1); }

  // Accepts a request: from now on its events go to the sink, the last one with its only terminal
  // status. An error means that it was not accepted and nothing was kept:
  //   InvalidArgument    it could never run: longer than the context or the whole KV cache, or
  //                      with more others at once than the queue holds
  //   ResourceExhausted  the queue or the tenant's is full, or the deadline cannot be met
  //   Unavailable        draining, or the device has failed
  // Each carries a Refusal, but InvalidArgument for a tenant that does not exist. Requests that are
  // submitted together are of one tenant.
  absl::Status Submit(Request request);
  // Accepts all of them or none.
  absl::Status Submit(std::vector<Request> requests);

  // Ends a request early; without effect when it has ended or is unknown. Its KV is free once the
  // steps already launched have completed.
  void Cancel(RequestId id);

  // Paused: the client has not taken what there is, and no more of the answer is computed until it
  // is told that the client has. After options.pause_grace the request gives up its place and its
  // KV as well, and waits for both when it goes on. One that was preempted max_preemptions times is
  // computed on then, so that nobody has the same computed again and again, and nothing is paused
  // once the engine accepts no more, so that a drain ends. Without effect when the request has
  // ended or is unknown.
  void SetPaused(RequestId id, bool paused) { inbox_.SetPaused(id, paused); }

  // Who may send requests and what each is owed; before the first call there is one tenant without
  // limits. Requests that are live go on under the new policies. InvalidArgument, and nothing has
  // changed, where the policies contradict each other or the size of the KV cache, or where a
  // tenant would lose its place.
  absl::Status SetTenants(TenantTable tenants);

  // Nothing that was computed before is found by requests that start after, of one tenant or of
  // all. InvalidArgument for a tenant that does not exist.
  absl::Status FlushPrefixes(std::optional<TenantId> tenant) {
    return inbox_.FlushPrefixes(tenant);
  }
  // Recounts what scheduler and KV cache keep, between two steps. `done` gets what does not agree,
  // none when all is well, or Unavailable once the loop has ended. It is called on the engine
  // thread, which must not wait there.
  void CheckInvariants(EngineInbox::CheckDone done) { inbox_.CheckInvariants(std::move(done)); }

  // Refuses new requests from now on.
  void StopAccepting() {
    inbox_.Close("the server is draining; send the request elsewhere", "DRAINING");
  }
  // Whether a request would be looked at: neither draining nor failed.
  bool accepting() const { return !inbox_.closed(); }
  // Ends every live request with kShutdown and UNAVAILABLE.
  void AbortAll() { inbox_.AbortAll(); }

  EngineStats Stats() const;
  // By TenantId.
  std::vector<TenantStats> Tenants() const;
  // Accepted and not yet ended.
  int64_t live_requests() const { return live_requests_.load(std::memory_order_acquire); }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Takes no lock, so that it can be asked whatever the engine thread does.
  EngineProgress Progress() const;

  // Runs one step and returns whether it did anything. After a device failure every live request
  // has been ended and nothing more will run.
  bool Step();
  // After a step that did nothing: sleeps until there may be something to do. Live requests always
  // have a step to run, but for those that are paused or wait for their tenant's token rate.
  void WaitForWork();
  void Wake() { inbox_.Wake(); }  // any thread
  // The last call of the engine thread.
  void End() { inbox_.End(); }

  // For tests and invariant checks, between steps.
  std::vector<std::string> Violations() const;  // what CheckInvariants() gives
  const Scheduler& scheduler() const { return scheduler_; }
  const KvCacheManager& kv() const { return *kv_; }
  size_t steps_in_flight() const { return in_flight_.size(); }

 private:
  struct LiveRequest {
    Sequence* sequence = nullptr;
    StopChecker stop;
    TimePoint gives_up_at{};  // its place, while it is paused and has one
    bool resumed = false;     // since its last token, whose time is its client's then
  };
  struct InFlightStep {
    StepPlan plan;
    BatchInput input;
    TimePoint launched_at{};
  };

  absl::Status CheckFits(const Request& request, int64_t kv_limit) const;
  void Handle(EngineInbox::Messages messages);
  void ApplyTenants(TenantTable tenants);
  void Enqueue(Request request);
  void ExpireDeadlines();
  // Paused requests (engine_pauses.cc).
  void ApplyPause(RequestId id, bool paused);
  void Resume(LiveRequest* live);
  void SetAsidePaused();
  void AdmitWaiting();
  void CountPreempted();
  // Plans, reserves and launches the next step; false when there is nothing to run.
  bool LaunchNext();
  absl::Status LaunchPlan(StepPlan plan);
  KvReservation ReserveAndFill(StepPlan* plan);
  void FillSampling(StepPlan* plan);
  absl::Status Launch(const BatchInput& input);
  // Waits for the oldest step and makes its results visible.
  void CompleteOldest();
  bool WaitForTransfer();
  void Commit(const StepPlan& plan, std::span<const kernels::SampledToken> rows);
  // Ends the sequence of a row that drew or scored nothing; `code`: in the place of its token.
  void FailRow(Sequence* sequence, int32_t code, TokenEvent event);
  void CommitScores(const SequenceStep& step, std::span<const kernels::SampledToken> rows,
                    int32_t first_row);
  void CommitToken(Sequence* sequence, const kernels::SampledToken& sampled, int32_t row);
  void CountStep(const StepPlan& plan, Duration duration);  // launched so long ago
  void CountEnd(const Sequence& sequence);
  // Ends a live request: its event, its KV, its statistics. The sequence is gone afterwards.
  void Finish(Sequence* sequence, FinishReason reason, absl::Status status, TokenEvent event);
  void FinishAll(FinishReason reason, const absl::Status& status);
  void FailDevice(const absl::Status& status);
  void DeliverEvents();
  void FinishImpossible(Sequence* sequence);
  void PublishStats();
  void PublishTenants();
  // The tenant's counters, to be published with this step.
  TenantStats& Count(TenantId tenant);
  void CountAllTenants();

  const EngineOptions options_;
  int64_t longest_request_ = 0;  // prompt and generated tokens; constant
  int64_t kv_bytes_ = 0;         // the whole KV cache; constant
  ModelRunner* const runner_;
  KvCacheManager* const kv_;
  OutputSink* const sink_;
  const Clock* const clock_;
  const StopRules stop_rules_;

  EngineInbox inbox_;
  std::atomic<uint64_t> next_request_id_{0};
  std::atomic<int64_t> live_requests_{0};
  std::atomic<int64_t> paused_requests_{0};
  std::atomic<bool> failed_{false};
  std::atomic<uint64_t> completed_steps_{0};
  std::atomic<TimePoint> rests_until_{TimePoint{}};
  EngineStatsBoard stats_board_;

  // Engine thread only.
  Scheduler scheduler_;
  absl::flat_hash_map<RequestId, LiveRequest> live_;
  std::deque<InFlightStep> in_flight_;     // oldest first, at most in_flight_depth + 1
  std::vector<BatchInput> spare_inputs_;   // buffers of completed steps, reused
  std::vector<kernels::LogitEdit> edits_;  // of the step being planned
  absl::btree_set<std::pair<TimePoint, RequestId>> deadlines_;  // of live requests that have one
  absl::btree_set<std::pair<TimePoint, RequestId>> pauses_;     // by when they give up their place
  StepId last_launched_;
  PrefillCost prefill_cost_;
  std::vector<TokenEvent> events_;
  EngineStats stats_;
  std::vector<TenantStats> tenant_stats_;  // by TenantId
  std::vector<bool> tenant_changed_;       // of the same, since they were published
  std::vector<TenantId> changed_tenants_;  // those
  TimePoint all_tenants_counted_{};
  Duration runner_time_{};  // of this step: launching and waiting for the device
  TimePoint now_{};         // read twice a step: before planning and after completion
};

}  // namespace quire
