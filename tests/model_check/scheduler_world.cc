#include "tests/model_check/scheduler_world.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/model_check/kv_state_reader.h"
#include "tests/model_check/scheduler_checks.h"
#include "tests/model_check/scheduler_state_reader.h"

namespace quire::testing {

SchedulerWorld::SchedulerWorld(const SchedulerScenario& scenario)
    : scenario_(scenario),
      arena_(SmallLayout().BlockBytes() * static_cast<size_t>(scenario.blocks),
             SmallLayout().BlockBytes()),
      kv_({SmallLayout()}, &arena_, scenario.options.max_step_tokens),
      scheduler_(scenario.options, &kv_),
      submitted_(scenario.requests.size()),
      costs_(scenario.tenants.size(), 0) {
  if (scenario.prefix_cache && !kv_.EnablePrefixCache()) violations_.push_back("no prefix cache");
  scheduler_.SetTenants(scenario.tenants);
  for (size_t r = 0; r < submitted_.size(); ++r) {
    submitted_[r].submits_left = scenario.requests[r].submits;
  }
}

SchedulerWorld::~SchedulerWorld() = default;

std::vector<SchedulerWorld::Action> SchedulerWorld::Enabled() const {
  std::vector<Action> actions;
  if (!IsIdle()) actions.push_back(Make(Kind::kStep, 0));
  for (size_t r = 0; r < submitted_.size(); ++r) {
    if (submitted_[r].sequence != nullptr) {
      actions.push_back(Make(Kind::kCancel, r));
    } else if (submitted_[r].submits_left > 0) {
      actions.push_back(Make(Kind::kSubmit, r));
    }
  }
  if (scheduler_.NextOpening() != kNoDeadline) actions.push_back(Make(Kind::kAdvance, 0));
  return actions;
}

void SchedulerWorld::Apply(Action action) {
  switch (KindOf(action)) {
    case Kind::kStep:
      Step();
      break;
    case Kind::kSubmit:
      Submit(ArgumentOf(action));
      break;
    case Kind::kCancel:
      End(ArgumentOf(action));
      break;
    case Kind::kAdvance:
      now_ = std::max(now_, scheduler_.NextOpening());
      break;
  }
  CheckCosts();
}

void SchedulerWorld::Submit(size_t r) {
  const SchedulerRequest& wanted = scenario_.requests[r];
  SubmittedRequest& submitted = submitted_[r];
  Request request;
  request.id = RequestId(++last_number_);
  request.tenant = wanted.tenant;
  request.priority = wanted.priority;
  request.prompt.assign(wanted.tokens.begin(), wanted.tokens.begin() + wanted.prompt_tokens);
  request.sampling.max_tokens = wanted.max_tokens;
  auto sequence = std::make_unique<Sequence>(scheduler_.NextSequenceId(), std::move(request));
  if (!scheduler_.CanEverRun(*sequence)) violations_.push_back("it is said never to run");
  submitted = {.sequence = sequence.get(),
               .number = last_number_,
               .submits_left = submitted.submits_left - 1};
  scheduler_.Enqueue(std::move(sequence));
}

void SchedulerWorld::End(size_t r) {
  const SequenceId id = submitted_[r].sequence->id();
  if (scheduler_.Release(id, last_launched_) == nullptr)
    violations_.push_back("nothing to release");
  submitted_[r].sequence = nullptr;
}

// As Engine::Step.
void SchedulerWorld::Step() {
  Admit();
  MakeRoom();
  const bool launched = Launch();
  const bool complete = launched ? in_flight_.size() > scenario_.depth : !in_flight_.empty();
  if (complete) Complete();
  if (launched || complete) return;
  if (scheduler_.NextOpening() != kNoDeadline) {
    now_ = std::max(now_, scheduler_.NextOpening());
  } else {
    violations_.push_back("a step finds nothing to do, and something is live");
  }
}

SchedulerFacts SchedulerWorld::Facts() const {
  return SchedulerFacts::Of(scenario_, submitted_, scheduler_, kv_, now_);
}

void SchedulerWorld::Admit() {
  const SchedulerFacts before = Facts();
  for (const Sequence* sequence : scheduler_.Admit(now_, last_launched_)) {
    const size_t r = RequestOf(sequence->id());
    if (sequence->status() != RequestStatus::kRunning) {
      violations_.push_back(absl::StrCat("request ", r, " starts and is preempted at once"));
    }
    submitted_[r].most_launched = std::max(submitted_[r].most_launched, sequence->launched());
    if (sequence->launched() > 0) events_ |= kFound;
  }
  const SchedulerFacts after = Facts();
  SchedulerChecks checks(scenario_, submitted_, in_flight_.empty(), &violations_);
  checks.Admission(before, after);
  checks.Limits(after);
  NoteEvents(before, after);
}

void SchedulerWorld::MakeRoom() {
  const SchedulerFacts before = Facts();
  scheduler_.MakeRoom(last_launched_);
  (void)scheduler_.TakePreempted();
  const SchedulerFacts after = Facts();
  SchedulerChecks checks(scenario_, submitted_, in_flight_.empty(), &violations_);
  checks.Room(before, after);
  checks.Limits(after);
  NoteEvents(before, after);
  for (const size_t r : after.running) {
    if (after.requests[r].lacks) events_ |= kSatOut;
  }
}

bool SchedulerWorld::Launch() {
  const StepPlan plan = scheduler_.PlanStep(StepId(last_launched_.value() + 1));
  SchedulerChecks(scenario_, submitted_, in_flight_.empty(), &violations_).Plan(Facts(), plan);
  if (plan.empty()) return false;
  std::vector<KvNeed> needs;
  for (const SequenceStep& step : plan.sequences) {
    needs.push_back({step.sequence, step.start + step.num_tokens});
  }
  KvReservation reservation = kv_.Reserve(needs);
  InFlight launched{.id = plan.id, .rows = {}};
  for (const SequenceStep& step : plan.sequences) {
    const size_t r = RequestOf(step.sequence);
    launched.rows.push_back({r, step, kv_.Table(step.sequence).blocks});
    SubmittedRequest& submitted = submitted_[r];
    const int32_t end = step.start + step.num_tokens;
    const int32_t prompt_end = std::min(end, scenario_.requests[r].prompt_tokens);
    const int32_t fresh = std::max(0, prompt_end - std::max(step.start, submitted.most_launched));
    submitted.most_launched = std::max(submitted.most_launched, end);
    costs_[step.tenant.value()] +=
        fresh * kPrefillTokenCost + (step.sample ? kSampledTokenCost : 0);
  }
  CheckBlocks(launched);
  CheckFeedback(launched);
  reservation.Commit();
  scheduler_.OnLaunched(plan);
  in_flight_.push_back(std::move(launched));
  last_launched_ = plan.id;
  return true;
}

void SchedulerWorld::Complete() {
  const InFlight step = std::move(in_flight_.front());
  in_flight_.pop_front();
  kv_.StepCompleted(step.id);
  Commit(step);
}

// As Engine::Commit.
void SchedulerWorld::Commit(const InFlight& completed) {
  for (const Row& row : completed.rows) {
    const SequenceStep& step = row.step;
    if (const Sequence* sequence = scheduler_.Find(step.sequence); sequence != nullptr) {
      const int32_t kv_len = step.start + step.num_tokens;
      kv_.Pass(step.sequence, kv_len);
      kv_.Publish(step.sequence, sequence->tokens().first(static_cast<size_t>(kv_len)));
      if (step.prefill) scheduler_.OnPublished(step.sequence, kv_len);
    }
    if (!step.sample) continue;
    Sequence* const sequence = scheduler_.Find(step.sequence);
    if (sequence == nullptr) {
      events_ |= kDiscarded;
      scheduler_.Refund(step);
      costs_[step.tenant.value()] -= kSampledTokenCost;
      continue;
    }
    const SchedulerRequest& request = scenario_.requests[row.request];
    sequence->CommitToken(request.tokens[sequence->tokens().size()], now_);
    if (sequence->generated_tokens() == request.max_tokens) End(row.request);
  }
}

size_t SchedulerWorld::RequestOf(SequenceId id) const {
  size_t r = 0;
  while (r < submitted_.size() &&
         (submitted_[r].sequence == nullptr || submitted_[r].sequence->id() != id)) {
    ++r;
  }
  return r;
}

void SchedulerWorld::NoteEvents(const SchedulerFacts& before, const SchedulerFacts& after) {
  if (after.parked > 0) events_ |= kParked;
  for (const SchedulerFacts::Tenant& tenant : after.tenants) {
    if (tenant.head.has_value()) events_ |= tenant.may_start ? kWaited : kCapped;
  }
  if (scheduler_.NextOpening() != kNoDeadline) events_ |= kClosed;
  for (size_t r = 0; r < submitted_.size(); ++r) {
    const bool was_loan = before.requests[r].loan;
    if (after.requests[r].loan) events_ |= kLoaned;
    if (after.Preempted(r, before)) {
      events_ |= was_loan ? kLoanPreempted : kPreempted;
      if (after.requests[r].preemptions >= scenario_.options.max_preemptions) {
        events_ |= kPreemptedOften;
      }
    } else if (was_loan && !after.requests[r].loan) {
      events_ |= kSettled;
    }
  }
}

// What a step writes is named by nobody else, and no step on its way names it for another.
void SchedulerWorld::CheckBlocks(const InFlight& step) {
  for (const Row& row : step.rows) {
    for (auto b = static_cast<size_t>(row.step.start / kBlockTokens); b < row.blocks.size(); ++b) {
      const auto names = [&](const std::vector<BlockId>& blocks) {
        return std::find(blocks.begin(), blocks.end(), row.blocks[b]) != blocks.end();
      };
      bool wrong = false;
      for (const SubmittedRequest& other : submitted_) {
        const Sequence* const sequence = other.sequence;
        if (sequence == nullptr || sequence->status() != RequestStatus::kRunning) continue;
        wrong = wrong ||
                (sequence->id() != row.step.sequence && names(kv_.Table(sequence->id()).blocks));
      }
      for (const InFlight& before : in_flight_) {
        for (const Row& other : before.rows) {
          wrong = wrong || (other.step.sequence != row.step.sequence && names(other.blocks));
        }
      }
      if (wrong) violations_.push_back("a step writes another's block");
    }
  }
}

// A token that is still on the device comes from its sequence's row of the step before.
void SchedulerWorld::CheckFeedback(const InFlight& step) {
  std::vector<SequenceId> rows;
  if (!in_flight_.empty()) {
    for (const Row& row : in_flight_.back().rows) {
      if (row.step.sample) rows.push_back(row.step.sequence);
    }
  }
  for (const Row& row : step.rows) {
    if (row.step.feedback_row < 0) continue;
    const auto of = static_cast<size_t>(row.step.feedback_row);
    if (of >= rows.size() || rows[of] != row.step.sequence) {
      violations_.push_back("a step is fed back another's token");
    }
  }
}

// Each tenant was charged what was computed for it: prompts once, and tokens that came of it.
void SchedulerWorld::CheckCosts() {
  for (uint32_t t = 0; t < costs_.size(); ++t) {
    const double received = scheduler_.fair_share().received(TenantId(t));
    if (received == costs_[t]) continue;
    violations_.push_back(
        absl::StrCat("tenant ", t, " was charged ", received, ", not ", costs_[t]));
  }
}

std::vector<std::string> SchedulerWorld::Violations() const {
  std::vector<std::string> violations = violations_;
  for (std::string& wrong : scheduler_.CheckInvariants()) violations.push_back(std::move(wrong));
  for (std::string& wrong : kv_.CheckInvariants()) violations.push_back(std::move(wrong));
  int64_t live = 0;
  std::vector<double> expected(costs_.size(), 0);
  for (size_t r = 0; r < submitted_.size(); ++r) {
    const Sequence* const sequence = submitted_[r].sequence;
    if (sequence == nullptr) continue;
    ++live;
    if (scheduler_.Find(sequence->id()) != sequence) {
      violations.push_back(absl::StrCat("request ", r, " is lost"));
    }
    if (sequence->status() != RequestStatus::kRunning) continue;
    const int32_t done = std::max(sequence->launched(), submitted_[r].most_launched);
    expected[sequence->request().tenant.value()] +=
        std::max(0, sequence->prompt_tokens() - done) * kPrefillTokenCost;
  }
  if (live != scheduler_.num_running() + scheduler_.num_waiting()) {
    violations.push_back(absl::StrCat(live, " requests are live, not ", scheduler_.num_running(),
                                      " + ", scheduler_.num_waiting()));
  }
  const FairShare& fair = scheduler_.fair_share();
  for (uint32_t t = 0; t < costs_.size(); ++t) {
    const TenantId id(t);
    if (fair.expected(id) == expected[t]) continue;
    violations.push_back(absl::StrCat("tenant ", t, " is to cost ", fair.expected(id)));
  }
  CheckWaits(&violations);
  if (live == 0 && in_flight_.empty() && !kv_.Snapshot().AllFree()) {
    violations.push_back("nothing is live, and not all blocks are free");
  }
  return violations;
}

// Who waits for a prefix waits for one that is being computed, and not for long.
void SchedulerWorld::CheckWaits(std::vector<std::string>* violations) const {
  for (const SchedulerStateReader::Wait& wait : SchedulerStateReader::WaitsOf(scheduler_)) {
    const size_t r = RequestOf(wait.sequence);
    const Sequence* const producer = scheduler_.Find(wait.producer);
    if (producer == nullptr || producer->status() != RequestStatus::kRunning) {
      violations->push_back(absl::StrCat("request ", r, " waits for a prefix of nobody"));
    } else if (kv_.PublishedTokens(wait.producer) >= wait.tokens) {
      violations->push_back(absl::StrCat("request ", r, " waits for a prefix that is there"));
    }
    const int64_t waited = submitted_[r].sequence->prefix_wait() + wait.rounds;
    if (waited > scenario_.options.max_prefix_wait_steps) {
      violations->push_back(absl::StrCat("request ", r, " waits for too long"));
    }
  }
}

std::string SchedulerWorld::Describe(Action action) const {
  switch (KindOf(action)) {
    case Kind::kSubmit:
      return absl::StrCat("submit ", ArgumentOf(action));
    case Kind::kCancel:
      return absl::StrCat("cancel ", ArgumentOf(action));
    case Kind::kAdvance:
      return "time passes";
    case Kind::kStep:
      break;
  }
  const SchedulerFacts facts = Facts();
  std::string what = absl::StrCat("step, ", in_flight_.size(), " in flight; ");
  for (const size_t r : facts.running) {
    const Sequence& sequence = *submitted_[r].sequence;
    absl::StrAppend(&what, " ", r, facts.requests[r].loan ? " on loan" : "", " runs with ",
                    sequence.launched(), " of ", sequence.tokens().size(), " tokens and ",
                    facts.requests[r].promised, " blocks;");
  }
  for (size_t r = 0; r < submitted_.size(); ++r) {
    if (submitted_[r].sequence == nullptr || facts.requests[r].running) continue;
    absl::StrAppend(&what, " ", r, facts.requests[r].ready ? " waits;" : " is parked;");
  }
  return what;
}

// Left out because nothing depends on it but by what is in it: ids, of which only the order counts
// where the reader says so; time; what was charged, see SchedulerStateReader; more preemptions than
// the most.
StateKey::Digest SchedulerWorld::Key() const {
  StateKey key(/*blocks_per_slab=*/1);
  std::vector<SequenceId> running;
  for (const auto& entry : SchedulerStateReader::RunningOf(scheduler_)) {
    running.push_back(entry.sequence->id());
  }
  KvStateReader::AddTo(kv_, running, &key);
  SchedulerStateReader::Context context;
  context.name_of = [this](SequenceId id) { return static_cast<int64_t>(RequestOf(id)); };
  context.now = now_;
  context.owed.resize(costs_.size(), 0);
  context.is_live.resize(costs_.size(), false);
  for (const InFlight& step : in_flight_) {
    for (const Row& row : step.rows) {
      if (row.step.sample) context.owed[row.step.tenant.value()] += kSampledTokenCost;
    }
  }
  for (size_t r = 0; r < submitted_.size(); ++r) {
    if (submitted_[r].sequence == nullptr) continue;
    context.is_live[scenario_.requests[r].tenant.value()] = true;
  }
  SchedulerStateReader::AddTo(scheduler_, context, &key);
  AddSequences(&key);
  AddSteps(&key);
  return key.digest();
}

void SchedulerWorld::AddSequences(StateKey* key) const {
  std::vector<std::pair<uint64_t, size_t>> by_number, by_id;
  for (size_t r = 0; r < submitted_.size(); ++r) {
    const SubmittedRequest& submitted = submitted_[r];
    const Sequence* const sequence = submitted.sequence;
    key->Add(submitted.submits_left);
    key->Add(sequence != nullptr ? 1 : 0);
    if (sequence == nullptr) continue;
    by_number.emplace_back(submitted.number, r);
    by_id.emplace_back(sequence->id().value(), r);
    key->Add(static_cast<int64_t>(sequence->tokens().size()));
    key->Add(sequence->prefill_tokens());
    key->Add(sequence->launched());
    key->Add(sequence->pending_samples());
    key->Add(submitted.most_launched);
    key->Add(std::min(sequence->preemptions(), scenario_.options.max_preemptions));
    key->Add(std::min<int64_t>(sequence->prefix_wait(), scenario_.options.max_prefix_wait_steps));
  }
  for (auto* order : {&by_number, &by_id}) {
    std::sort(order->begin(), order->end());
    for (const auto& [_, r] : *order) key->Add(static_cast<int64_t>(r));
  }
}

void SchedulerWorld::AddSteps(StateKey* key) const {
  for (const InFlight& step : in_flight_) {
    key->Add(static_cast<int64_t>(step.rows.size()));
    for (const Row& row : step.rows) {
      key->Add(static_cast<int64_t>(row.request));
      key->Add(scheduler_.Find(row.step.sequence) != nullptr ? 1 : 0);
      key->Add(row.step.start);
      key->Add(row.step.num_tokens);
      key->Add(row.step.prefill ? 1 : 0);
      key->Add(row.step.sample ? 1 : 0);
    }
  }
}

}  // namespace quire::testing
