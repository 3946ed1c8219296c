#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/sched/scheduler.h"

// Who starts, and on which terms.

namespace quire {

std::vector<Sequence*> Scheduler::Admit(TimePoint now, StepId last_launched) {
  BeginRound(now);
  std::vector<Sequence*> started;
  while (num_running() < options_.max_running_sequences && AdmitInTurn(last_launched, &started)) {
  }
  ++round_;  // who is parked now sits the step out
  return started;
}

void Scheduler::BeginRound(TimePoint now) {
  now_ = now;
  while (!openings_.empty() && openings_.begin()->first <= now) {
    const TenantId id = openings_.begin()->second;
    if (AskBucket(id)) Refresh(id);
  }
  while (!wait_ends_.empty() && wait_ends_.begin()->first <= round_) {
    const SequenceId producer = wait_ends_.begin()->second;
    wait_ends_.erase(wait_ends_.begin());
    WakeWaiters(producer, std::numeric_limits<int64_t>::max());
  }
  if (num_loans_ > 0) SettleLoans();
  if (num_arriving_ == 0) return;
  for (const auto& running : running_) {
    if (!running->arriving || !kv_->HasArrived(running->sequence->id())) continue;
    running->arriving = false;
    --num_arriving_;
  }
}

// Of loans, those are none any more that their tenant's reserve covers, and all of them once nobody
// lacks anything.
void Scheduler::SettleLoans() {
  const bool nobody_lacks = FreeOfFloors(kv_->Budget()) >= shares_.unused_reserves();
  for (const auto& running : running_) {
    if (!running->loan) continue;
    if (!nobody_lacks && !shares_.IsWithinReserve(running->sequence->request().tenant)) continue;
    running->loan = false;
    --num_loans_;
  }
}

// Until there is no place, or nobody who could take one. True where it has to be begun again, since
// who waits has changed.
bool Scheduler::AdmitInTurn(StepId last_launched, std::vector<Sequence*>* started) {
  const auto later = [](const FairShare::Turn& a, const FairShare::Turn& b) { return b < a; };
  std::vector<FairShare::Turn> turns = fair_.turns();
  std::make_heap(turns.begin(), turns.end(), later);
  while (!turns.empty() && num_running() < options_.max_running_sequences) {
    std::pop_heap(turns.begin(), turns.end(), later);
    const TenantId id = turns.back().tenant;
    turns.pop_back();
    const size_t preempted = preempted_.size();
    const Attempt attempt = TryAdmit(id, last_launched, started);
    if (attempt == Attempt::kBlocked) return AdmitCovered(last_launched, started);
    if (preempted_.size() != preempted) return true;
    if (attempt == Attempt::kNothing || !MayStart(id)) continue;
    turns.push_back(fair_.turn(id));
    std::push_heap(turns.begin(), turns.end(), later);
  }
  return false;
}

// Behind one for whom there is no KV only what reserves cover may start, as that takes nothing from
// it. True where something did, or was parked.
bool Scheduler::AdmitCovered(StepId last_launched, std::vector<Sequence*>* started) {
  std::vector<FairShare::Turn> turns;
  for (const TenantId id : reserving_) {
    if (fair_.IsEligible(id)) turns.push_back(fair_.turn(id));
  }
  std::sort(turns.begin(), turns.end());
  for (const FairShare::Turn& turn : turns) {
    const Sequence* const head = tenants_[turn.tenant.value()].queue.Front();
    if (head == nullptr || !IsCovered(turn.tenant, *head)) continue;
    const Attempt attempt = TryAdmit(turn.tenant, last_launched, started);
    if (attempt == Attempt::kStarted) ++tenants_[turn.tenant.value()].counters.ahead;
    if (attempt == Attempt::kStarted || attempt == Attempt::kParked) return true;
  }
  return false;
}

Scheduler::Attempt Scheduler::TryAdmit(TenantId id, StepId last_launched,
                                       std::vector<Sequence*>* started) {
  if (!MayStart(id)) return Attempt::kNothing;  // it competes with a prefill alone
  const Sequence& head = *tenants_[id.value()].queue.Front();
  // Its last step is on its way.
  if (head.swapped_tokens() > 0 && !kv_->CanSwapIn(head.id())) return Attempt::kNothing;
  const KvBlockCounts blocks = kv_->PromiseFor(TokensToPromise(head));
  const int64_t bytes = kv_->BytesOf(blocks);
  KvBudget after;
  const bool covered = shares_.IsWithinReserve(id, bytes);
  const bool fits = Fits(blocks, covered, &after);
  if (!fits && !covered) return Attempt::kBlocked;
  if (const auto wait = PrefixToWaitFor(head); wait.has_value()) {
    // Who waits wants a place soon: no use in looking far beyond those there are.
    if (num_parked_ >= options_.max_running_sequences) return Attempt::kNothing;
    Park(head, *wait);
    return Attempt::kParked;
  }
  if (!fits && !ReclaimFor(blocks, last_launched, &after)) return Attempt::kBlocked;
  const bool loan = !shares_.IsFirm(id, bytes, FreeOfFloors(after));
  if (loan && SomebodyReclaims()) return Attempt::kBlocked;
  started->push_back(Start(id, head.id(), loan));
  return Attempt::kStarted;
}

// What it starts with: everything it can ever need, or with overcommit what it knows and a token.
int64_t Scheduler::TokensToPromise(const Sequence& sequence) const {
  const int64_t most = sequence.max_kv_tokens();
  if (!options_.overcommit || sequence.preemptions() >= options_.max_preemptions) return most;
  if (sequence.swapped_tokens() > 0) return sequence.swapped_tokens();
  return std::min<int64_t>(most, static_cast<int64_t>(sequence.tokens().size()) + 1);
}

// What may be promised. Floors that were raised since it was accepted are not to stop a sequence
// for good that is alone.
KvBudget Scheduler::Room(bool alone) const {
  return alone ? kv_->Budget().PassingFloors() : kv_->Budget();
}

bool Scheduler::Fits(const KvBlockCounts& blocks, bool covered, KvBudget* after) const {
  *after = Room(/*alone=*/running_.empty());
  if (!after->TryTake(blocks)) return false;
  if (!options_.overcommit || covered || running_.empty()) return true;
  // Each running sequence is to find the block it will want next.
  return after->FreeBytes() >= num_running() * kv_->BytesOf(kv_->PromiseFor(1));
}

bool Scheduler::IsCovered(TenantId id, const Sequence& sequence) const {
  return shares_.IsWithinReserve(id, kv_->BytesOf(kv_->PromiseFor(TokensToPromise(sequence))));
}

// Preempts what is on loan, the newest first, until the blocks fit. False where they do not, as
// yet: blocks of preempted sequences may have to wait for a step.
bool Scheduler::ReclaimFor(const KvBlockCounts& blocks, StepId last_launched, KvBudget* after) {
  const auto under_way = [&] { return kv_->Budget(/*fenced=*/false).TryTake(blocks); };
  while (num_loans_ > 0 && !under_way()) {
    const auto newest = std::find_if(running_.rbegin(), running_.rend(), [](const auto& running) {
      return running->loan && !running->arriving;
    });
    if (newest == running_.rend()) return false;
    Preempt(newest->get(), last_launched);
    if (Fits(blocks, /*covered=*/true, after)) return true;
  }
  return false;
}

// Nobody starts on a loan while what it takes is about to be reclaimed. Running sequences may still
// grow: they would wait for each other where the one that reclaims waits for a place.
bool Scheduler::SomebodyReclaims() const {
  return std::any_of(reserving_.begin(), reserving_.end(), [&](TenantId id) {
    return MayStart(id) && IsCovered(id, *tenants_[id.value()].queue.Front());
  });
}

Sequence* Scheduler::Start(TenantId id, SequenceId sequence_id, bool loan) {
  Tenant& tenant = tenants_[id.value()];
  auto running = std::make_unique<Running>();
  running->sequence = TakeWaiting(id, sequence_id);
  Sequence& sequence = *running->sequence;
  running->promised_tokens = TokensToPromise(sequence);
  running->loan = loan;
  Begin(running.get());
  ChangeKv(id, PromisedBytes(*running));
  if (loan) {
    ++num_loans_;
    ++tenant.counters.loans;
  }
  fair_.Expect(id, OutstandingCost(sequence));
  ++tenant.running;
  if (sequence.InPrefill()) ++tenant.prefilling;
  live_.at(sequence.id()).running = running.get();
  running_.push_back(std::move(running));
  AskBucket(id);
  Refresh(id);
  return &sequence;
}

// With the KV that it had, or with what of its prompt is found.
void Scheduler::Begin(Running* running) {
  Sequence& sequence = *running->sequence;
  if (sequence.swapped_tokens() == 0) {
    kv_->Admit(sequence.id(), running->promised_tokens);
    return sequence.Start(now_, SharePrefix(sequence));
  }
  kv_->SwapIn(sequence.id());
  kv_->Extend(sequence.id(), running->promised_tokens);
  sequence.SwapIn();
  running->arriving = true;
  ++num_arriving_;
}

// Whose KV may serve whom: no name can be taken for another, nor with a salt behind it.
std::string Scheduler::ScopeOf(const Sequence& sequence) const {
  const std::string& group = PolicyOf(sequence).sharing_group;
  const std::string& salt = sequence.request().cache_salt;
  return group.empty() ? absl::StrCat("t", sequence.request().tenant.value(), ":", salt)
                       : absl::StrCat("g", group.size(), ":", group, salt);
}

int32_t Scheduler::SharePrefix(const Sequence& sequence) {
  return static_cast<int32_t>(kv_->SharePrefix(
      sequence.id(), sequence.tokens().first(static_cast<size_t>(sequence.ReusableTokens())),
      ScopeOf(sequence), sequence.request().tenant));
}

// Where a running sequence is about to compute more of what this one begins with than can be found
// now: as much as a good part of a step, or waiting for the next one would be the slower way. Of
// prompts that are alike to the end, such as those of one request's answers, any block is enough:
// there are often more of them.
std::optional<Scheduler::PrefixWait> Scheduler::PrefixToWaitFor(const Sequence& sequence) const {
  const int64_t block_tokens = kv_->PrefixBlockTokens();
  if (sequence.prefix_wait() >= options_.max_prefix_wait_steps || block_tokens == 0 ||
      sequence.swapped_tokens() > 0) {
    return std::nullopt;
  }
  const auto known = sequence.tokens().first(static_cast<size_t>(sequence.ReusableTokens()));
  const std::string scope = ScopeOf(sequence);
  const auto whole = static_cast<int64_t>(known.size()) - 1;  // the last token is computed anyway
  PrefixWait wait;
  bool alike = false;
  for (const auto& running : running_) {
    const Sequence& other = *running->sequence;
    if (!other.InPrefill() || kv_->PublishedScope(other.id()) != scope) continue;
    const auto computed = other.tokens().first(static_cast<size_t>(other.prefill_tokens()));
    const auto differ = std::mismatch(known.begin(), known.end(), computed.begin(), computed.end());
    const int64_t common = std::min<int64_t>(differ.first - known.begin(), whole);
    const int64_t tokens = common / block_tokens * block_tokens;
    if (tokens > std::max(wait.tokens, kv_->PublishedTokens(other.id()))) {
      wait = {other.id(), tokens};
      alike = common == whole;
    }
  }
  if (wait.tokens == 0) return std::nullopt;
  const int64_t saved = wait.tokens - kv_->FindPrefix(known, scope);
  if (saved < (alike ? 1 : std::max(options_.max_step_tokens / 4, 1))) return std::nullopt;
  return wait;
}

void Scheduler::Park(const Sequence& sequence, const PrefixWait& wait) {
  const TenantId tenant = sequence.request().tenant;
  TenantOf(sequence).queue.Park(sequence.id());
  ++num_parked_;
  waiters_[wait.producer].push_back({sequence.id(), wait.tokens, round_});
  const int64_t left = options_.max_prefix_wait_steps - sequence.prefix_wait();
  wait_ends_.emplace(round_ + left, wait.producer);
  Refresh(tenant);
}

void Scheduler::WakeWaiters(SequenceId producer, int64_t tokens) {
  const auto it = waiters_.find(producer);
  if (it == waiters_.end()) return;
  std::erase_if(it->second, [&](const Waiter& waiter) {
    if (waiter.tokens > tokens) return false;
    // It may have ended meanwhile.
    Sequence* const sequence = Find(waiter.sequence);
    if (sequence == nullptr || !TenantOf(*sequence).queue.Unpark(waiter.sequence)) return true;
    --num_parked_;
    sequence->AddPrefixWait(round_ - waiter.since_round);
    Refresh(sequence->request().tenant);
    return true;
  });
  if (it->second.empty()) waiters_.erase(it);
}

}  // namespace quire
