#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/sched/scheduler.h"

// Who keeps on running, and whose KV goes.

namespace quire {

void Scheduler::MakeRoom(StepId last_launched) {
  if (!options_.overcommit) return;
  std::vector<SequenceId> lacking;
  for (const auto& running : running_) {
    if (running->sequence->RunnableTokens() > RunnableTokens(*running)) {
      lacking.push_back(running->sequence->id());
    }
  }
  for (const SequenceId id : lacking) {
    // It may have been preempted for an older one.
    const auto it = live_.find(id);
    if (it != live_.end() && it->second.running != nullptr) {
      Provide(it->second.running, last_launched);
    }
  }
}

// Promises it the block of its next token. Each round frees something or ends: then it sits out
// steps until others have ended. The oldest has to only where those that it may not preempt have
// all that they ask for, and so will end.
void Scheduler::Provide(Running* running, StepId last_launched) {
  const int64_t tokens = ExtendedTokens(*running);
  const KvBlockCounts more = kv_->MorePromised(running->sequence->id(), tokens);
  while (true) {
    const Extension extension = TryExtend(running, tokens, more);
    if (extension == Extension::kGranted) return;
    const bool over_limit = extension == Extension::kOverLimit;
    if (!over_limit && kv_->Budget(/*fenced=*/false).TryTake(more)) return;
    Running* const victim = VictimFor(*running, /*own_alone=*/over_limit);
    if (victim == nullptr && IsScattered()) return Preempt(running, last_launched);
    if (victim == nullptr) return;
    Preempt(victim, last_launched);
  }
}

// Alone it finds no room only where its blocks lie in more slabs than they fill, as those of others
// lay beside them: it gives them up, to begin with full ones.
bool Scheduler::IsScattered() const { return running_.size() == 1 && !kv_->HasFenced(); }

int64_t Scheduler::ExtendedTokens(const Running& running) const {
  const Sequence& sequence = *running.sequence;
  const int64_t block_tokens = kv_->cache_class(0).layout().block_tokens;
  const int64_t wanted = sequence.launched() + block_tokens;
  return std::min<int64_t>(wanted / block_tokens * block_tokens, sequence.max_kv_tokens());
}

// Up to `tokens` tokens of KV, for which it takes `more`.
Scheduler::Extension Scheduler::TryExtend(Running* running, int64_t tokens,
                                          const KvBlockCounts& more) {
  const int64_t bytes = kv_->BytesOf(more);
  const TenantId id = running->sequence->request().tenant;
  Tenant& tenant = tenants_[id.value()];
  // As for MayStart().
  const bool limited = bytes > 0 && tenant.running > 1;
  if (limited && shares_.IsOverLimit(id, bytes)) return Extension::kOverLimit;
  KvBudget after = Room(/*alone=*/running_.size() == 1);
  if (!after.TryTake(more)) return Extension::kNoRoom;
  if (!running->loan && !shares_.IsFirm(id, bytes, FreeOfFloors(after))) {
    running->loan = true;
    ++num_loans_;
    ++tenant.counters.loans;
  }
  kv_->Extend(running->sequence->id(), tokens);
  running->promised_tokens = tokens;
  ChangeKv(id, bytes);
  Refresh(id);
  return Extension::kGranted;
}

bool Scheduler::AsksBeyondReserve(const Running& running) const {
  const Sequence& sequence = *running.sequence;
  const int64_t more = kv_->BytesOf(kv_->MorePromised(sequence.id(), ExtendedTokens(running)));
  return sequence.RunnableTokens() > RunnableTokens(running) &&
         !shares_.IsWithinReserve(sequence.request().tenant, more);
}

// `own_alone`: at its tenant's limit one of its own goes. Else first what is on loan; then what is
// newer than who needs the room, has not been preempted too often, and is not within its tenant's
// reserve. The oldest sequence of all passes over a reserve where that does not help who it is for,
// or nobody could go on: where more than the reserve is asked for, and with several cache classes,
// where slabs that are used but partly may leave no room although the bytes are there.
Scheduler::Running* Scheduler::VictimFor(const Running& running, bool own_alone) const {
  const TenantId tenant = running.sequence->request().tenant;
  Running* firm = nullptr;
  bool newer = true;
  const bool oldest = running_.front().get() == &running;
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    Running& other = **it;
    if (&other == &running) {
      newer = false;
      continue;
    }
    if (other.arriving) continue;  // soon it is there, and has not come for nothing
    const TenantId owner = other.sequence->request().tenant;
    const bool own = owner == tenant;
    if (own_alone && !own) continue;
    // Loans do not push each other out in turns.
    if (other.loan && (newer || !running.loan)) return &other;
    if (newer && firm == nullptr && other.sequence->preemptions() < options_.max_preemptions &&
        (own || !shares_.IsWithinReserve(owner) ||
         (oldest && (kv_->num_classes() > 1 || AsksBeyondReserve(other))))) {
      firm = &other;
    }
  }
  return firm;
}

void Scheduler::Preempt(Running* running, StepId last_launched) {
  const SequenceId old_id = running->sequence->id();
  const TenantId id = running->sequence->request().tenant;
  const bool swapped = SwapOut(*running, last_launched);
  if (!swapped) kv_->Free(old_id, last_launched);
  const std::unique_ptr<Running> taken = TakeRunning(running);
  std::unique_ptr<Sequence> sequence = std::move(taken->sequence);
  live_.erase(old_id);
  TenantLoad& counters = tenants_[id.value()].counters;
  ++counters.preempted;
  if (swapped) {
    // What it will need must not change while it waits: with the tokens on their way, and the next.
    const int64_t next =
        static_cast<int64_t>(sequence->tokens().size()) + sequence->pending_samples() + 1;
    sequence->SwapOut(
        std::max(taken->promised_tokens, std::min<int64_t>(next, sequence->max_kv_tokens())));
    ++counters.swapped_out;
  } else {
    sequence->Preempt(NextSequenceId());
  }
  preempted_.push_back(sequence.get());
  Enqueue(std::move(sequence));
  // What is left of the tenant's may be within its reserve now.
  if (num_loans_ > 0) SettleLoans();
}

bool Scheduler::SetAside(SequenceId id, StepId last_launched) {
  const Entry& entry = live_.at(id);
  Running* const running = entry.running;
  if (running != nullptr && running->arriving) return false;
  const Sequence& sequence = *entry.sequence;
  if (running != nullptr) Preempt(running, last_launched);
  const TenantId tenant = sequence.request().tenant;
  TenantQueue& queue = tenants_[tenant.value()].queue;
  num_parked_ -= queue.parked();
  queue.SetAside(sequence.id());
  num_parked_ += queue.parked();
  Refresh(tenant);
  return true;
}

bool Scheduler::BringBack(SequenceId id) {
  const TenantId tenant = live_.at(id).sequence->request().tenant;
  if (!tenants_[tenant.value()].queue.BringBack(id)) return false;
  Refresh(tenant);
  return true;
}

// Where that is cheaper than to compute its KV again, and possible.
bool Scheduler::SwapOut(const Running& running, StepId last_launched) {
  if (!kv_->CanSwap()) return false;
  const Sequence& sequence = *running.sequence;
  return SwapIsCheaper(sequence.launched(), kv_->HeldBytes(sequence.id()), costs_) &&
         kv_->SwapOut(sequence.id(), last_launched);
}

// Out of the running ones, with all that is counted for it but its KV.
std::unique_ptr<Scheduler::Running> Scheduler::TakeRunning(Running* running) {
  const SequenceId id = running->sequence->id();
  const TenantId tenant_id = running->sequence->request().tenant;
  Tenant& tenant = tenants_[tenant_id.value()];
  ChangeKv(tenant_id, -PromisedBytes(*running));
  fair_.Expect(tenant_id, -OutstandingCost(*running->sequence));
  AskBucket(tenant_id);
  if (running->loan) --num_loans_;
  if (running->arriving) --num_arriving_;
  if (running->sequence->InPrefill()) --tenant.prefilling;
  --tenant.running;
  const auto it = std::find_if(running_.begin(), running_.end(),
                               [&](const auto& other) { return other.get() == running; });
  QUIRE_CHECK(it != running_.end());
  std::unique_ptr<Running> taken = std::move(*it);
  running_.erase(it);
  WakeWaiters(id, std::numeric_limits<int64_t>::max());
  return taken;
}

void Scheduler::ChangeKv(TenantId id, int64_t bytes) {
  Tenant& tenant = tenants_[id.value()];
  tenant.counters.kv_byte_seconds +=
      static_cast<double>(shares_.used(id)) * ToSeconds(now_ - tenant.kv_changed_at);
  tenant.kv_changed_at = now_;
  shares_.Add(id, bytes);
}

std::vector<std::string> Scheduler::CheckInvariants() const {
  std::vector<std::string> violations;
  const auto expect = [&](const char* what, int64_t counted, int64_t kept) {
    if (counted != kept) {
      violations.push_back(absl::StrCat("scheduler: ", what, ": ", counted, " != ", kept));
    }
  };
  struct Count {
    int64_t running = 0, prefilling = 0, bytes = 0;
    double outstanding = 0;
  };
  std::vector<Count> counts(tenants_.size());
  int64_t loans = 0, arriving = 0, waiting = 0, waiting_tokens = 0, parked = 0, closed = 0;
  int64_t held = 0, aside = 0;
  for (const auto& running : running_) {
    const Sequence& sequence = *running->sequence;
    Count& count = counts[sequence.request().tenant.value()];
    ++count.running;
    count.prefilling += sequence.InPrefill() ? 1 : 0;
    count.bytes += PromisedBytes(*running);
    count.outstanding += OutstandingCost(sequence);
    loans += running->loan ? 1 : 0;
    arriving += running->arriving ? 1 : 0;
    const auto live = live_.find(sequence.id());
    if (live == live_.end() || live->second.running != running.get()) {
      violations.push_back("a running sequence is not live");
    }
  }
  int64_t firm_or_owed = 0;
  for (uint32_t i = 0; i < tenants_.size(); ++i) {
    const TenantId id(i);
    const Tenant& tenant = tenants_[i];
    expect("running of a tenant", counts[i].running, tenant.running);
    expect("prefilling of a tenant", counts[i].prefilling, tenant.prefilling);
    expect("KV of a tenant", counts[i].bytes, shares_.used(id));
    expect("expected of a tenant", std::llround(counts[i].outstanding),
           std::llround(fair_.expected(id)));
    expect("eligible", fair_.IsEligible(id) ? 1 : 0, tenant.prefilling > 0 || MayStart(id) ? 1 : 0);
    waiting += tenant.queue.size();
    waiting_tokens += tenant.queue.prompt_tokens();
    parked += tenant.queue.parked();
    held += MayStart(id) ? 0 : tenant.queue.ready();
    aside += tenant.queue.set_aside();
    closed += tenant.opens_at.has_value() ? 1 : 0;
    int64_t firm = 0;
    for (const auto& running : running_) {
      if (running->sequence->request().tenant == id && !running->loan) {
        firm += PromisedBytes(*running);
      }
    }
    firm_or_owed += std::max(firm, policies_[i].kv_reserved_bytes);
  }
  expect("loans", loans, num_loans_);
  expect("arriving", arriving, num_arriving_);
  expect("waiting", waiting, num_waiting_);
  expect("waiting tokens", waiting_tokens, waiting_tokens_);
  expect("parked", parked, num_parked_);
  expect("held by their tenants", held, num_held_);
  expect("set aside", aside, num_set_aside_);
  expect("openings", closed, static_cast<int64_t>(openings_.size()));
  expect("live", num_running() + waiting, static_cast<int64_t>(live_.size()));
  if (firm_or_owed + kv_->FloorBytes() > kv_->TotalBytes())
    violations.push_back("reserves cannot be given back");
  return violations;
}

}  // namespace quire
