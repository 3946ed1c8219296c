#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <tuple>

#include "gtest/gtest.h"
#include "tests/model_check/explorer.h"
#include "tests/model_check/scheduler_scenario.h"
#include "tests/model_check/scheduler_world.h"

// Every state that a few requests of two tenants can bring the real Scheduler and KvCacheManager
// into, submitted and cancelled between any two steps. In each of them promises, caps, reserves and
// the order of turns hold, what is preempted may be, and from each of them engine steps alone lead
// to an end: nothing is preempted for ever, nobody waits for ever. QUIRE_MODEL_CHECK=large explores
// more (minutes).

namespace quire::testing {
namespace {

using World = SchedulerWorld;

bool Large() {
  const char* size = std::getenv("QUIRE_MODEL_CHECK");
  return size != nullptr && std::string_view(size) == "large";
}

TenantPolicy Tenant(const char* name, int64_t reserved_blocks = 0, int64_t limit_blocks = 0) {
  TenantPolicy policy;
  policy.name = name;
  policy.kv_reserved_bytes = reserved_blocks * kBlockBytes;
  policy.kv_limit_bytes = limit_blocks * kBlockBytes;
  return policy;
}

SchedulerScenario Scenario(const char* name, TenantTable tenants, uint32_t events) {
  SchedulerScenario s;
  s.name = name;
  s.options = {.max_step_tokens = 24, .max_running_sequences = 3, .max_prefix_wait_steps = 2};
  s.tenants = std::move(tenants);
  s.events = events;
  return s;
}

// Tenant 1 borrows what tenant 0 is owed.
SchedulerScenario ReserveOfOne() {
  SchedulerScenario s = Scenario("ReserveOfOne", {Tenant("a", 1), Tenant("b")},
                                 World::kLoaned | World::kLoanPreempted | World::kSettled);
  return s.Add(0, "A", 14, 3, 2).Add(1, "B", 15, 4).Add(1, "C", 12, 3);
}

SchedulerScenario ReserveOfTwo() {
  SchedulerScenario s = Scenario("ReserveOfTwo", {Tenant("a", 2), Tenant("b")},
                                 World::kLoaned | World::kLoanPreempted);
  return s.Add(0, "AA", 20, 3).Add(0, "B", 14, 2).Add(1, "CC", 17, 3, 2);
}

SchedulerScenario BothReserve() {
  SchedulerScenario s = Scenario("BothReserve", {Tenant("a", 1), Tenant("b", 2)},
                                 World::kLoaned | World::kLoanPreempted);
  s.tenants[1].weight = 2;
  return s.Add(0, "A", 15, 3).Add(0, "BB", 18, 3).Add(1, "CC", 15, 4);
}

SchedulerScenario OvercommitOnce() {
  SchedulerScenario s =
      Scenario("OvercommitOnce", {Tenant("a"), Tenant("b")},
               World::kPreempted | World::kPreemptedOften | World::kSatOut | World::kWaited);
  s.options.overcommit = true;
  s.options.max_preemptions = 1;
  return s.Add(0, "A", 14, 5).Add(1, "B", 13, 6).Add(0, "C", 12, 20);
}

SchedulerScenario OvercommitReserve() {
  SchedulerScenario s = Scenario("OvercommitReserve", {Tenant("a", 2), Tenant("b")},
                                 World::kPreempted | World::kLoaned | World::kLoanPreempted);
  s.options.overcommit = true;
  s.options.max_preemptions = 1;
  return s.Add(0, "A", 14, 5).Add(1, "B", 13, 6).Add(1, "C", 15, 4);
}

SchedulerScenario OvercommitTwice() {
  SchedulerScenario s = OvercommitReserve();
  s.name = "OvercommitTwice";
  s.options.max_preemptions = 2;
  s.events |= World::kPreemptedOften;
  s.requests[0].submits = 2;
  return s;
}

// The oldest lacks what one within its reserve has, and that one lacks more than its reserve.
SchedulerScenario OvercommitBothLack() {
  SchedulerScenario s = Scenario("OvercommitBothLack", {Tenant("a", 2), Tenant("b")},
                                 World::kPreempted | World::kSatOut);
  s.options.overcommit = true;
  return s.Add(0, "AA", 30, 5).Add(1, "B", 14, 5).Add(1, "C", 15, 3);
}

// Where 0 takes its reserve and 2 grows 1 has to go, but not again when they come again.
SchedulerScenario OvercommitCapped() {
  SchedulerScenario s = Scenario("OvercommitCapped", {Tenant("a", 1), Tenant("b"), Tenant("c")},
                                 World::kPreempted | World::kPreemptedOften | World::kSatOut);
  s.options.overcommit = true;
  s.options.max_preemptions = 1;
  return s.Add(0, "A", 10, 2, 2).Add(1, "B", 8, 7).Add(2, "C", 15, 3, 2);
}

SchedulerScenario OvercommitBothBorrow() {
  SchedulerScenario s = Scenario("OvercommitBothBorrow", {Tenant("a", 3), Tenant("b")},
                                 World::kLoanPreempted | World::kSatOut);
  s.blocks = 4;
  s.options.overcommit = true;
  s.options.max_preemptions = 1;
  return s.Add(0, "A", 14, 3).Add(1, "BB", 30, 5).Add(1, "C", 14, 20);
}

SchedulerScenario Limits() {
  SchedulerScenario s = Scenario("Limits", {Tenant("a", 0, 2), Tenant("b")}, World::kCapped);
  s.tenants[1].max_running = 1;
  return s.Add(0, "A", 15, 3).Add(0, "B", 12, 2).Add(1, "C", 10, 2).Add(1, "D", 9, 2);
}

SchedulerScenario OvercommitLimits() {
  SchedulerScenario s =
      Scenario("OvercommitLimits", {Tenant("a", 0, 2), Tenant("b")}, World::kPreempted);
  s.options.overcommit = true;
  s.options.max_preemptions = 1;
  return s.Add(0, "A", 15, 4).Add(0, "B", 14, 4).Add(1, "C", 13, 6);
}

// Two begin with the same block.
SchedulerScenario SharedPrompt() {
  SchedulerScenario s = Scenario("SharedPrompt", {Tenant("a"), Tenant("b")},
                                 World::kFound | World::kParked | World::kWaited);
  s.blocks = 4;
  s.options.max_step_tokens = 16;
  s.prefix_cache = true;
  return s.Add(0, "AB", 30, 2, 2).Add(0, "AC", 18, 2).Add(1, "A", 15, 2);
}

// Those of both tenants, who may serve each other.
SchedulerScenario SharedByThree() {
  SchedulerScenario s = Scenario("SharedByThree", {Tenant("a", 2), Tenant("b")},
                                 World::kFound | World::kParked | World::kLoanPreempted);
  for (TenantPolicy& tenant : s.tenants) tenant.sharing_group = "both";
  s.blocks = 6;
  s.options.max_step_tokens = 16;
  s.prefix_cache = true;
  return s.Add(0, "AB", 20, 2).Add(1, "ABC", 34, 2).Add(1, "ABD", 34, 2);
}

SchedulerScenario Floors() {
  SchedulerScenario s =
      Scenario("Floors", {Tenant("a"), Tenant("b")}, World::kFound | World::kWaited);
  s.tenants[0].prefix_floor_bytes = kBlockBytes;
  s.prefix_cache = true;
  return s.Add(0, "AB", 18, 2, 2).Add(1, "CD", 18, 2).Add(1, "E", 14, 2);
}

SchedulerScenario Rates() {
  SchedulerScenario s = Scenario("Rates", {Tenant("a"), Tenant("b")}, World::kClosed);
  s.tenants[0].tokens_per_second = 16;
  s.tenants[0].burst_tokens = 8;
  return s.Add(0, "A", 10, 2, 2).Add(0, "B", 14, 4).Add(1, "C", 14, 4);
}

SchedulerScenario Priorities() {
  SchedulerScenario s =
      Scenario("Priorities", {Tenant("a", 1), Tenant("b")}, World::kLoanPreempted);
  s.tenants[1].max_priority = 1;
  s.Add(0, "A", 10, 2, 2).Add(1, "B", 15, 3).Add(1, "C", 14, 3);
  s.requests[2].priority = 2;
  return s;
}

class SchedulerModelCheck : public ::testing::TestWithParam<std::tuple<SchedulerScenario, size_t>> {
};

TEST_P(SchedulerModelCheck, EveryReachableStateIsSoundAndEnds) {
  SchedulerScenario scenario = std::get<0>(GetParam());
  scenario.depth = std::get<1>(GetParam());
  if (Large()) {
    ++scenario.blocks;
    for (SchedulerRequest& request : scenario.requests) request.submits = 2;
  }
  Explorer<SchedulerWorld, SchedulerScenario> explorer(scenario);
  const auto start = std::chrono::steady_clock::now();
  const std::string wrong = explorer.Explore();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_TRUE(wrong.empty()) << wrong;
  if (scenario.depth > 0) scenario.events |= World::kDiscarded;
  if (!Large()) {
    EXPECT_EQ(explorer.events() & scenario.events, scenario.events);
  }
  std::cout << scenario.name << ", " << scenario.blocks << " blocks, " << scenario.requests.size()
            << " requests, depth " << scenario.depth << ": "
            << (wrong.empty() ? "complete, " : "ended early, ") << explorer.num_states()
            << " states, " << explorer.num_transitions() << " transitions, the farthest "
            << explorer.depth() << " actions away, at most " << explorer.longest_to_idle()
            << " steps to rest, events " << explorer.events() << ", " << seconds.count() << " s"
            << std::endl;
}

INSTANTIATE_TEST_SUITE_P(
    , SchedulerModelCheck,
    ::testing::Combine(::testing::Values(ReserveOfOne(), ReserveOfTwo(), BothReserve(),
                                         OvercommitOnce(), OvercommitReserve(), OvercommitTwice(),
                                         OvercommitBothLack(), OvercommitCapped(),
                                         OvercommitBothBorrow(), Limits(), OvercommitLimits(),
                                         SharedPrompt(), SharedByThree(), Floors(), Rates(),
                                         Priorities()),
                       ::testing::Values(0, 1)),
    [](const auto& named) {
      return std::get<0>(named.param).name + "Depth" + std::to_string(std::get<1>(named.param));
    });

}  // namespace
}  // namespace quire::testing
