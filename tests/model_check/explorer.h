#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "tests/model_check/abort_report.h"

namespace quire::testing {

// Explores all states that a world can reach, breadth first, so that what it finds wrong has a
// shortest path. A world is deterministic. A state is kept as the path that leads to it and made
// anew by walking it, so worlds need not be copyable:
//
//   World(scenario)                  the first state, which is idle
//   Enabled(), Apply(action)         what may happen, and what then is
//   IsBroken()                       an action has done something wrong
//   Violations()                     that, and what is wrong with the state
//   Key()                            equal for states that behave alike
//   IsIdle(), IsProgress(action)     of an enabled action: from every state some progress leads to
//                                    an idle one, or it is stuck
//   Describe(action)                 of an enabled action
//   Events()                         what has happened on the way, as bits
template <typename World, typename Scenario>
class Explorer {
 public:
  using Action = typename World::Action;

  // `scenario` must outlive it.
  explicit Explorer(const Scenario& scenario) : scenario_(scenario) {}

  // Empty when all is well, else what is wrong first and the path to it. A broken QUIRE_CHECK ends
  // the process; the path is printed then.
  std::string Explore() {
    const AbortReport report([this] { return Trace(walking_); });
    std::string wrong = Visit(World(scenario_), 0, Action(), false);
    for (uint32_t from = 0; from < states_.size() && wrong.empty(); ++from) wrong = Expand(from);
    return wrong.empty() ? FindStuck() : wrong;
  }

  size_t num_states() const { return states_.size(); }
  size_t num_transitions() const { return num_transitions_; }
  uint32_t events() const { return events_; }
  // The most actions that a state is away from an idle one, by its shortest way of progress: the
  // only one, where no state enables several.
  size_t longest_to_idle() const { return longest_to_idle_; }
  // Actions to the states that are farthest away.
  size_t depth() const { return PathTo(static_cast<uint32_t>(states_.size()) - 1).size(); }

 private:
  struct State {
    uint32_t before = 0;
    Action action{};  // that led here from there
    bool idle = false;
  };

  std::vector<Action> PathTo(uint32_t state) const {
    std::vector<Action> path;
    for (; state != 0; state = states_[state].before) path.push_back(states_[state].action);
    return {path.rbegin(), path.rend()};
  }

  static void Walk(const std::vector<Action>& path, World* world) {
    for (Action action : path) world->Apply(action);
  }

  std::string Expand(uint32_t from) {
    walking_ = PathTo(from);
    World here(scenario_);
    Walk(walking_, &here);
    std::string wrong;
    for (Action action : here.Enabled()) {
      World world(scenario_);
      Walk(walking_, &world);
      walking_.push_back(action);
      world.Apply(action);
      wrong = Visit(world, from, action, here.IsProgress(action));
      if (!wrong.empty()) return wrong;
      walking_.pop_back();
    }
    return wrong;
  }

  std::string Visit(const World& world, uint32_t from, Action action, bool progress) {
    ++num_transitions_;
    events_ |= world.Events();
    const auto [known, is_new] =
        ids_.try_emplace(world.Key(), static_cast<uint32_t>(states_.size()));
    if (progress) progress_.emplace_back(from, known->second);
    if (is_new) states_.push_back({from, action, world.IsIdle()});
    if (!is_new && !world.IsBroken()) return "";
    std::string wrong;
    for (const std::string& violation : world.Violations()) {
      absl::StrAppend(&wrong, violation, "\n");
    }
    return wrong.empty() ? "" : wrong + Trace(walking_);
  }

  // Walks progress backwards from the idle states.
  std::string FindStuck() {
    std::vector<std::vector<uint32_t>> before(states_.size());
    for (const auto& [from, to] : progress_) before[to].push_back(from);
    std::vector<bool> ends(states_.size(), false);
    std::vector<uint32_t> reached;
    const auto reach = [&](uint32_t state) {
      if (!ends[state]) reached.push_back(state);
      ends[state] = true;
    };
    for (uint32_t s = 0; s < states_.size(); ++s) {
      if (states_[s].idle) reach(s);
    }
    while (!reached.empty()) {
      for (uint32_t state : std::exchange(reached, {})) {
        for (uint32_t s : before[state]) reach(s);
      }
      if (!reached.empty()) ++longest_to_idle_;
    }
    for (uint32_t s = 0; s < states_.size(); ++s) {
      if (!ends[s]) return "it never comes to rest from here\n" + Trace(PathTo(s));
    }
    return "";
  }

  std::string Trace(const std::vector<Action>& path) const {
    std::string trace = absl::StrCat("after ", path.size(), " actions:\n");
    World world(scenario_);
    for (size_t i = 0; i < path.size(); ++i) {
      absl::StrAppend(&trace, "  ", world.Describe(path[i]), "\n");
      // The last one may be what ended the process.
      if (i + 1 < path.size()) world.Apply(path[i]);
    }
    return trace;
  }

  const Scenario& scenario_;
  std::vector<State> states_;
  absl::flat_hash_map<decltype(std::declval<const World&>().Key()), uint32_t> ids_;
  std::vector<std::pair<uint32_t, uint32_t>> progress_;  // from, to
  size_t num_transitions_ = 0;
  size_t longest_to_idle_ = 0;
  uint32_t events_ = 0;
  std::vector<Action> walking_;
};

}  // namespace quire::testing
