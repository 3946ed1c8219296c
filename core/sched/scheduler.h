#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/kv/kv_cache_manager.h"
#include "core/plan/step_plan.h"
#include "core/request/sequence.h"
#include "core/request/tenant_policy.h"
#include "core/sched/policies/fair_share.h"
#include "core/sched/policies/kv_shares.h"
#include "core/sched/policies/preemption.h"
#include "core/sched/policies/token_bucket.h"
#include "core/sched/policies/token_budget.h"
#include "core/sched/tenant_load.h"
#include "core/sched/tenant_queue.h"

namespace quire {

struct SchedulerOptions {
  int32_t max_step_tokens = 0;  // at least max_running_sequences, so that decode always runs
  int32_t max_running_sequences = 0;
  int32_t max_scored_tokens = 1;          // prompt tokens in a step whose logprobs are wanted
  int32_t max_prefill_beside_decode = 0;  // see StepBudget
  // Off: a sequence starts once the KV it can ever need is promised to it, and is preempted only
  // where that is a loan. On: it starts with what its known tokens need, and where memory runs out
  // the newest are preempted, each at most max_preemptions times.
  bool overcommit = false;
  int32_t max_preemptions = 4;
  // Each step of priority counts as so much time of waiting.
  Duration ageing = std::chrono::seconds(10);
  // What swapping costs where the KV cache can swap: see PreemptionCosts.
  double swap_seconds_per_byte = 0;
  // Steps for which a sequence may wait for another that computes what it begins with; 0: none.
  int32_t max_prefix_wait_steps = 32;
};

// What a token costs a tenant, as in the VTC paper: an answer's about twice a prompt's.
inline constexpr double kPrefillTokenCost = 1;
inline constexpr double kSampledTokenCost = 2;

// Decides who runs and what each step computes. Owns every live sequence: the waiting ones in
// their tenant's queue, the running ones in order of admission. Engine thread only.
//
// Whose turn it is follows from FairShare, on which terms a tenant may have KV from KvShares. A
// sequence whose turn it is but for which there is no KV holds back those behind it, so nobody
// starves; only what a tenant's own reserve covers goes ahead.
class Scheduler {
 public:
  // `kv` must outlive the scheduler. Begins with one tenant without limits.
  Scheduler(const SchedulerOptions& options, KvCacheManager* kv);
  ~Scheduler();

  // What recomputing has cost lately; until it is known nothing is swapped out.
  void SetRecomputeCost(double seconds_per_token) {
    costs_.recompute_seconds_per_token = seconds_per_token;
  }
  // For running sequences as well; the table never gets shorter.
  void SetTenants(TenantTable tenants);
  const TenantTable& tenants() const { return policies_; }

  SequenceId NextSequenceId() { return SequenceId(++last_sequence_id_); }
  // Whether its tenant's policy and the cache allow it to run at all.
  bool CanEverRun(const Sequence& sequence) const;
  void Enqueue(std::unique_ptr<Sequence> sequence);

  // Starts waiting sequences while there is room, the one whose turn it is first. Where a tenant's
  // reserve is on loan, borrowers are preempted; their blocks are free once `last_launched`, the
  // newest step of all, has completed. Returns what it started.
  std::vector<Sequence*> Admit(TimePoint now, StepId last_launched);
  // With overcommit: promises running sequences the KV of their next tokens, the oldest first, and
  // preempts for it. Others without a promise sit out the next step.
  void MakeRoom(StepId last_launched);

  // The sequences that were preempted since it was asked last, to be asked before any is released:
  // those that run again as well, and as often as it happened.
  std::vector<const Sequence*> TakePreempted() { return std::exchange(preempted_, {}); }

  // Decode rows first, then prefill chunks in fair order; none of sequences whose KV is still on
  // its way from the host. Empty when nothing can run. Changes nothing.
  StepPlan PlanStep(StepId id) const;

  // The plan has been launched: its sequences move on, and their tenants are charged.
  void OnLaunched(const StepPlan& plan);
  // A launched row's token is nobody's any more: it costs nothing.
  void Refund(const SequenceStep& step) { fair_.Charge(step.tenant, -kSampledTokenCost); }
  // The KV of the sequence's first `tokens` tokens can be found: who waits for it starts.
  void OnPublished(SequenceId id, int64_t tokens) { WakeWaiters(id, tokens); }

  // Gives up a live sequence's KV and its place among the running ones, as a preemption does, and
  // starts it no more until BringBack. False, and nothing has changed, while its KV is on its way
  // from the host.
  bool SetAside(SequenceId id, StepId last_launched);
  // To its old place among those that wait. False for a live one that is not set aside.
  bool BringBack(SequenceId id);

  // Forgets a sequence, whose KV is free once `last_launched` has completed. Null when unknown.
  std::unique_ptr<Sequence> Release(SequenceId id, StepId last_launched);

  // Null when it is not live.
  Sequence* Find(SequenceId id) const;
  // Every live sequence, the running ones first.
  std::vector<Sequence*> Live() const;
  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t num_waiting() const { return num_waiting_; }
  int64_t waiting_tokens() const { return waiting_tokens_; }
  TenantLoad Load(TenantId id) const;
  WaitCounts Waits() const;
  // When a tenant that is ahead of its token rate may go on; kNoDeadline where none is.
  TimePoint NextOpening() const;

  const FairShare& fair_share() const { return fair_; }
  // Recounts and compares; empty when all is well.
  std::vector<std::string> CheckInvariants() const;

 private:
  friend class SchedulerStateReader;  // of tests/model_check
  struct Running {
    std::unique_ptr<Sequence> sequence;
    int64_t promised_tokens = 0;
    bool loan = false;
    bool arriving = false;  // its KV is on its way from the host
  };
  struct Entry {
    Sequence* sequence = nullptr;
    Running* running = nullptr;  // null while it waits
  };
  struct Tenant {
    explicit Tenant(Duration ageing) : queue(ageing) {}
    TenantQueue queue;
    TokenBucket bucket;
    int64_t running = 0;
    int64_t prefilling = 0;
    int64_t held = 0;                   // of those that wait, by the tenant's own limits
    int64_t set_aside = 0;              // likewise, by their clients
    std::optional<TimePoint> opens_at;  // while it is ahead of its token rate
    TimePoint kv_changed_at{};
    TenantLoad counters;
  };
  // For the first `tokens` tokens of the producer's KV.
  struct PrefixWait {
    SequenceId producer;
    int64_t tokens = 0;
  };
  struct Waiter {
    SequenceId sequence;
    int64_t tokens = 0;
    int64_t since_round = 0;
  };
  enum class Attempt { kStarted, kParked, kNothing, kBlocked };
  enum class Extension { kGranted, kNoRoom, kOverLimit };

  Tenant& TenantOf(const Sequence& sequence);
  const TenantPolicy& PolicyOf(const Sequence& sequence) const;
  std::unique_ptr<Sequence> TakeWaiting(TenantId tenant, SequenceId id);
  // Whether the tenant competes for the next step, and what its sequences wait for; to be called
  // when what that depends on changed.
  void Refresh(TenantId id);
  bool MayStart(TenantId id) const;
  // Whether the tenant's rate allows more, what has started counting in full; to be called when
  // what that depends on changed. Returns whether the answer did.
  bool AskBucket(TenantId id);

  // Admission (scheduler_admit.cc).
  void BeginRound(TimePoint now);
  bool AdmitInTurn(StepId last_launched, std::vector<Sequence*>* started);
  bool AdmitCovered(StepId last_launched, std::vector<Sequence*>* started);
  Attempt TryAdmit(TenantId id, StepId last_launched, std::vector<Sequence*>* started);
  int64_t TokensToPromise(const Sequence& sequence) const;
  // Of the budget, in bytes, with what floors do not protect yet set aside.
  int64_t FreeOfFloors(const KvBudget& budget) const {
    return budget.PassingFloors().FreeBytes() - kv_->FloorBytes();
  }
  KvBudget Room(bool alone) const;
  bool Fits(const KvBlockCounts& blocks, bool covered, KvBudget* after) const;
  bool ReclaimFor(const KvBlockCounts& blocks, StepId last_launched, KvBudget* after);
  bool SomebodyReclaims() const;
  std::string ScopeOf(const Sequence& sequence) const;
  std::optional<PrefixWait> PrefixToWaitFor(const Sequence& sequence) const;
  void Park(const Sequence& sequence, const PrefixWait& wait);
  bool IsCovered(TenantId id, const Sequence& sequence) const;
  Sequence* Start(TenantId id, SequenceId sequence_id, bool loan);
  void Begin(Running* running);
  int32_t SharePrefix(const Sequence& sequence);
  void WakeWaiters(SequenceId producer, int64_t tokens);
  void SettleLoans();
  void ReviewLoans();

  // Room (scheduler_room.cc).
  void Provide(Running* running, StepId last_launched);
  bool IsScattered() const;
  int64_t ExtendedTokens(const Running& running) const;
  Extension TryExtend(Running* running, int64_t tokens, const KvBlockCounts& more);
  bool AsksBeyondReserve(const Running& running) const;
  Running* VictimFor(const Running& running, bool own_alone) const;
  void Preempt(Running* running, StepId last_launched);
  bool SwapOut(const Running& running, StepId last_launched);
  std::unique_ptr<Running> TakeRunning(Running* running);
  void ChangeKv(TenantId id, int64_t bytes);
  int64_t PromisedBytes(const Running& running) const {
    return kv_->BytesOf(kv_->PromiseFor(running.promised_tokens));
  }
  // Of its prompt's tokens that are to be computed.
  static double OutstandingCost(const Sequence& sequence) {
    return sequence.NewPromptTokens(sequence.prefill_tokens() - sequence.launched()) *
           kPrefillTokenCost;
  }

  std::vector<TokenDemand> Demands(std::vector<TokenParty>* parties) const;
  int32_t RunnableTokens(const Running& running) const;
  static SequenceStep MakeStep(const Sequence& sequence, int32_t num_tokens);

  const SchedulerOptions options_;
  KvCacheManager* const kv_;
  PreemptionCosts costs_;
  TenantTable policies_;
  std::vector<Tenant> tenants_;      // by TenantId
  std::vector<TenantId> reserving_;  // those with a reserve
  FairShare fair_;
  KvShares shares_;
  std::vector<std::unique_ptr<Running>> running_;  // in order of admission
  absl::flat_hash_map<SequenceId, Entry> live_;
  std::vector<const Sequence*> preempted_;
  int64_t num_waiting_ = 0;
  int64_t waiting_tokens_ = 0;
  uint64_t last_sequence_id_ = 0;

  TimePoint now_{};    // of the newest round
  int64_t round_ = 0;  // of admission: one a step, and the next one's between two
  int64_t num_loans_ = 0;
  int64_t num_arriving_ = 0;
  absl::btree_set<std::pair<TimePoint, TenantId>> openings_;      // `opens_at` of tenants
  absl::flat_hash_map<SequenceId, std::vector<Waiter>> waiters_;  // by who computes their prefix
  absl::btree_set<std::pair<int64_t, SequenceId>> wait_ends_;     // by round: of whose waiters
  int64_t num_parked_ = 0;
  int64_t num_held_ = 0;
  int64_t num_set_aside_ = 0;
};

}  // namespace quire
