#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/kv/kv_cache_manager.h"
#include "tests/model_check/kv_scenario.h"
#include "tests/model_check/kv_shadow.h"
#include "tests/model_check/state_key.h"

namespace quire::testing {

// One state of a scenario: a real KvCacheManager and the shadow that judges it, driven by the same
// actions the way the engine drives the manager (Scheduler::Admit, Engine::LaunchPlan, Commit and
// Finish). A request may come again once it is gone, under the same id.
class KvWorld {
 public:
  using Action = uint16_t;

  // `scenario` must outlive it.
  explicit KvWorld(const KvScenario& scenario);

  std::vector<Action> Enabled() const;
  void Apply(Action action);
  std::string Describe(Action action) const;
  // Whether the action is one that happens when nobody aborts anything.
  bool IsProgress(Action action) const;
  // Nothing is live and nothing on its way.
  bool IsIdle() const;
  // An action has done something wrong.
  bool IsBroken() const { return !violations_.empty() || !shadow_.violations().empty(); }
  // What is wrong; empty when all is well. What an action did wrong is in here ever after.
  std::vector<std::string> Violations() const;
  StateKey::Digest Key() const;
  uint32_t Events() const { return shadow_.events(); }

 private:
  enum class Kind : uint16_t { kAdmit, kAdmitCold, kLaunch, kRollBack, kComplete, kFree, kForget };
  static Action Make(Kind kind, size_t argument) {
    return static_cast<Action>(static_cast<size_t>(kind) << 8 | argument);
  }
  static Kind KindOf(Action action) { return static_cast<Kind>(action >> 8); }
  static size_t ArgumentOf(Action action) { return action & 0xff; }

  std::vector<int64_t> EndsOf(size_t request) const;
  std::vector<KvShadow::Row> RowsOf(size_t choices) const;
  void AddSteps(std::vector<Action>* actions) const;
  void Admit(size_t request, bool warm);
  void Step(const std::vector<KvShadow::Row>& rows, bool commit);
  void Complete();
  KvShadow::Blocks TableOf(size_t request) const;
  void CheckSnapshot(std::vector<std::string>* violations) const;
  void CheckPrefixes(std::vector<std::string>* violations) const;

  const KvScenario& scenario_;
  SlabArena arena_;
  KvCacheManager kv_;
  KvShadow shadow_;
  std::vector<std::string> violations_;
};

}  // namespace quire::testing
