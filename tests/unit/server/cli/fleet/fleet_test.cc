#include "server/cli/fleet/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/cli/fleet/small_fleet.h"

namespace quire::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TenantSpec Open(double rate) {
  return {.name = "open",
          .rate = rate,
          .prompt = {.median = 48, .sigma = 0.8},
          .output = {.median = 12, .sigma = 0.8}};
}

TEST(FleetTest, EveryArrivalEndsOnce) {
  for (const std::string& policy : RouterNames()) {
    FleetOptions options = SmallFleet(3, {Open(500)});
    options.replica.engine.max_queued_requests = 4;
    options.drain = milliseconds(100);
    LoadSchedule schedule(options.load, options.replica.engine.max_context_tokens);
    int64_t arrivals = 0;
    for (; schedule.NextAt().has_value(); schedule.Take()) ++arrivals;
    const FleetResult result = RunFleet(options, policy);
    const LoadGroup& total = result.load.total();
    EXPECT_EQ(total.sent, arrivals) << policy;
    EXPECT_EQ(total.ok + total.rejected + total.unfinished, arrivals) << policy;
    EXPECT_GT(total.ok, 0) << policy;
    EXPECT_GT(total.rejected, 0) << policy;
    EXPECT_GT(total.unfinished, 0) << policy;
    EXPECT_EQ(total.by_code.at("OK"), total.ok);
    EXPECT_EQ(total.by_code.at("RESOURCE_EXHAUSTED"), total.rejected);
  }
}

TEST(FleetTest, TheSameSeedIsTheSameRun) {
  for (const std::string& policy : RouterNames()) {
    FleetOptions options = SmallFleet(4, {Open(40)});
    const auto run = [&] {
      const FleetResult result = RunFleet(options, policy);
      const SampleSummary first = result.load.total().ttft.Summarize();
      return std::tuple(result.steps, first.mean, first.p99, result.load.total().output_tokens,
                        result.kv_mean, result.hit_ratio);
    };
    const auto once = run();
    EXPECT_EQ(run(), once) << policy;
    options.load.seed = 2;
    EXPECT_NE(run(), once) << policy;
  }
}

TEST(FleetTest, ARequestAloneTakesWhatItsStepsTake) {
  FleetOptions options = SmallFleet(1, {{.name = "one", .concurrency = 1}});
  options.replica.one_way = milliseconds(2);
  options.load.max_requests = 3;
  options.load.tenants[0].prompt.median = 100;
  options.load.tenants[0].output.median = 2;
  options.replica.prefix_cache = false;
  const FleetResult result = RunFleet(options, "round-robin");
  StepWork first, second, third;
  first.Add(0, 64);
  second.Add(64, 36);
  third.Add(100, 1);
  const StepTimeModel& times = options.replica.times;
  const SampleSummary ttft = result.load.total().ttft.Summarize();
  EXPECT_EQ(ttft.count, 3);
  const double expected = times.Seconds(first) + times.Seconds(second) + 4e-3;
  EXPECT_NEAR(ttft.p50, expected, 1e-7);
  EXPECT_NEAR(ttft.max, expected, 1e-7);
  EXPECT_NEAR(result.load.total().per_token.Summarize().p50, times.Seconds(third), 1e-7);
  EXPECT_NEAR(result.window_seconds, 3 * (expected + times.Seconds(third)), 1e-6);
  const double computing = times.Seconds(first) + times.Seconds(second) + times.Seconds(third);
  EXPECT_EQ(result.steps, 9u);
  EXPECT_NEAR(result.step_seconds, computing / 3, 1e-7);
  EXPECT_NEAR(result.busy, computing / (computing + 4e-3), 1e-3);
}

// What it has seen of the first replica, which gets everything.
class Spy final : public Router {
 public:
  size_t Choose(const RoutedRequest&, FleetView view) override {
    seen.push_back(view[0]->load);
    return 0;
  }
  std::vector<int64_t> seen;
};

TEST(FleetTest, WhatAStepDoesIsKnownWhenItHasEnded) {
  // One request, whose only step takes 11.4 ms; others come every millisecond or so meanwhile.
  FleetOptions options = SmallFleet(
      1, {{.name = "one", .concurrency = 1, .prompt = {.median = 64}, .output = {.median = 1}},
          {.name = "others", .rate = 1000, .prompt = {.median = 16}, .output = {.median = 1}}});
  options.load.duration = milliseconds(11);
  const PromptSource prompts(1, 1000, {}, false);
  Spy spy;
  Fleet(options, &prompts, &spy).Run(nullptr);
  ASSERT_GT(spy.seen.size(), 5u);
  for (size_t i = 0; i < spy.seen.size(); ++i) {
    EXPECT_EQ(spy.seen[i], i == 0 ? 0 : 64 + 16 * static_cast<int64_t>(i - 1)) << i;
  }
}

TEST(FleetTest, AReplicaIsFairByWeight) {
  const auto tenant = [](const char* name, double weight) {
    return TenantSpec{.name = name,
                      .concurrency = 32,
                      .prompt = {.median = 40},
                      .output = {.median = 10},
                      .weight = weight};
  };
  const FleetOptions options = SmallFleet(1, {tenant("large", 3), tenant("small", 1)});
  const FleetResult result = RunFleet(options, "round-robin");
  ASSERT_EQ(result.fairness.size(), 2u);
  EXPECT_DOUBLE_EQ(result.fairness[0].due, 0.75);
  EXPECT_NEAR(result.fairness[0].share, 0.75, 0.01);
  EXPECT_NEAR(result.fairness[1].share, 0.25, 0.01);
  EXPECT_GT(result.contended_seconds, 19);
}

TEST(FleetTest, TenantsInTurnsOverReplicasAreFairOnlyWhereTheyMeet) {
  // Streams of the two alternate, so two replicas in turns get one tenant each.
  const auto tenant = [](const char* name) {
    return TenantSpec{
        .name = name, .concurrency = 24, .prompt = {.median = 40}, .output = {.median = 10}};
  };
  FleetOptions options = SmallFleet(2, {tenant("a"), tenant("b")});
  options.replica.tenants[0].weight = 3;
  const FleetResult aware = RunFleet(options, "tenant-aware");
  ASSERT_EQ(aware.fairness.size(), 2u);
  EXPECT_NEAR(aware.fairness[0].share, 0.75, 0.02);
  EXPECT_NEAR(aware.fairness[0].least_share, aware.fairness[0].most_share, 0.05);
}

TEST(FleetTest, TurnsAreWorseThanTheLeastLoadedWhereSizesDiffer) {
  FleetOptions options = SmallFleet(8, {Open(0)});
  options.load.tenants[0].rate = 160;
  options.load.tenants[0].output = {.median = 16, .sigma = 1.5};
  options.load.duration = seconds(60);
  const auto p90 = [&](const char* policy) {
    return RunFleet(options, policy).load.total().ttft.Summarize().p90;
  };
  EXPECT_GT(p90("round-robin"), 1.3 * p90("least-kv"));
}

TEST(FleetTest, AnOldViewMisleads) {
  FleetOptions options = SmallFleet(8, {Open(160)});
  const auto run = [&](Duration period) {
    options.view_period = period;
    return RunFleet(options, "least-kv").load.total().ttft.Summarize().p90;
  };
  const double fresh = run(Duration::zero());
  const double old = run(seconds(2));
  EXPECT_GT(old, 2 * fresh);
  EXPECT_GT(run(milliseconds(200)), fresh);
}

TEST(FleetTest, AffinityFindsWhatATurnDoesNot) {
  std::vector<TenantSpec> tenants;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    tenants.push_back({.name = name,
                       .rate = 5,
                       .prompt = {.median = 16},
                       .output = {.median = 4},
                       .prefix_tokens = 512});
  }
  FleetOptions options = SmallFleet(6, tenants);
  options.replica.kv_bytes /= 8;  // of 2,048 tokens: not of all prefixes
  options.load.duration = seconds(10);
  const double turns = RunFleet(options, "round-robin").hit_ratio;
  const double affinity = RunFleet(options, "prefix-affinity").hit_ratio;
  EXPECT_GT(affinity, 0.8);
  EXPECT_LT(turns, 0.65);
}

TEST(FleetTest, OneAtATimeStaysAtItsHome) {
  FleetOptions options = SmallFleet(
      5, {{.name = "one", .concurrency = 1, .prompt = {.median = 16}, .prefix_tokens = 64}});
  options.load.max_requests = 20;
  const FleetResult home = RunFleet(options, "prefix-affinity");
  EXPECT_EQ(home.most_requests, 5);
  EXPECT_EQ(home.least_requests, 0);
  const FleetResult turns = RunFleet(options, "round-robin");
  EXPECT_EQ(turns.most_requests, 1);
}

TEST(FleetTest, AClosedLoopSendsOnAndTheWarmUpIsNotMeasured) {
  FleetOptions options = SmallFleet(2, {{.name = "loop", .concurrency = 6}});
  options.load.warmup = seconds(5);
  const FleetResult result = RunFleet(options, "least-kv");
  const LoadGroup& total = result.load.total();
  EXPECT_GT(total.ok, 100);
  EXPECT_EQ(total.ok, total.sent);
  EXPECT_NEAR(result.window_seconds, 20, 1e-9);
  EXPECT_GT(result.kv_mean, 0);
  EXPECT_GE(result.kv_max, result.kv_mean);
  EXPECT_LE(result.kv_max, 1);
  EXPECT_GT(result.busy, 0.98);
  EXPECT_LE(result.busy, 1 + 1e-9);
}

}  // namespace
}  // namespace quire::cli
