#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/kv/kv_cache_manager.h"
#include "core/sched/scheduler.h"
#include "tests/model_check/scheduler_facts.h"
#include "tests/model_check/scheduler_scenario.h"
#include "tests/model_check/state_key.h"

namespace quire::testing {

// One state of a scenario: a real Scheduler on a real KvCacheManager, driven as Engine::Step does.
// Between two steps requests may be submitted and cancelled; ending early, as by a stop word, is no
// different from a cancel before the next step. A step is the only progress, and it is
// deterministic: from each state there is one way on when nobody submits or cancels anything.
class SchedulerWorld {
 public:
  using Action = uint16_t;
  // What has happened on the way here, as bits.
  enum Event : uint32_t {
    kLoaned = 1,          // something runs on loan
    kLoanPreempted = 2,   // and was preempted
    kPreempted = 4,       // something was preempted that was not on loan
    kPreemptedOften = 8,  // as often as it may be
    kSatOut = 16,         // something ran that lacked KV
    kDiscarded = 32,      // a step completed for a sequence that had gone
    kWaited = 64,         // for room
    kParked = 128,        // for another's prefix
    kFound = 256,         // a prefix was found
    kClosed = 512,        // a tenant was ahead of its rate
    kSettled = 1024,      // a loan became firm
    kCapped = 2048        // its tenant's own limits held a request back
  };

  // `scenario` must outlive it.
  explicit SchedulerWorld(const SchedulerScenario& scenario);
  ~SchedulerWorld();

  std::vector<Action> Enabled() const;
  void Apply(Action action);
  std::string Describe(Action action) const;
  bool IsProgress(Action action) const { return KindOf(action) == Kind::kStep; }
  bool IsIdle() const { return in_flight_.empty() && scheduler_.Live().empty(); }
  bool IsBroken() const { return !violations_.empty(); }
  std::vector<std::string> Violations() const;
  StateKey::Digest Key() const;
  uint32_t Events() const { return events_; }

 private:
  enum class Kind : uint16_t { kStep, kSubmit, kCancel, kAdvance };
  struct Row {
    size_t request = 0;
    SequenceStep step;
    std::vector<BlockId> blocks;
  };
  struct InFlight {
    StepId id;
    std::vector<Row> rows;
  };

  static Action Make(Kind kind, size_t argument) {
    return static_cast<Action>(static_cast<size_t>(kind) << 8 | argument);
  }
  static Kind KindOf(Action action) { return static_cast<Kind>(action >> 8); }
  static size_t ArgumentOf(Action action) { return action & 0xff; }

  void Submit(size_t request);
  void End(size_t request);
  void Step();
  void Admit();
  void MakeRoom();
  bool Launch();
  void Complete();
  void Commit(const InFlight& completed);
  SchedulerFacts Facts() const;
  size_t RequestOf(SequenceId id) const;  // its number, or that of none
  void NoteEvents(const SchedulerFacts& before, const SchedulerFacts& after);
  void CheckBlocks(const InFlight& step);
  void CheckFeedback(const InFlight& step);
  void CheckCosts();
  void CheckWaits(std::vector<std::string>* violations) const;
  void AddSequences(StateKey* key) const;
  void AddSteps(StateKey* key) const;

  const SchedulerScenario& scenario_;
  SlabArena arena_;
  KvCacheManager kv_;
  Scheduler scheduler_;
  std::vector<SubmittedRequest> submitted_;
  std::deque<InFlight> in_flight_;
  uint64_t last_number_ = 0;
  StepId last_launched_;
  TimePoint now_{};
  std::vector<double> costs_;  // by tenant: what it is to have been charged
  uint32_t events_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace quire::testing
