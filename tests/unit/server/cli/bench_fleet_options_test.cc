#include "server/cli/bench_fleet_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The arguments as the program would see them; a CLI11 error is a test failure.
FleetFlags Parse(std::vector<std::string> arguments) {
  CLI::App app;
  FleetFlags flags;
  AddFleetOptions(&app, &flags);
  arguments.insert(arguments.end(), {"--shape", "llama-3.2-1b"});
  std::reverse(arguments.begin(), arguments.end());
  app.parse(arguments);
  return flags;
}

absl::StatusOr<FleetOptions> Make(std::vector<std::string> arguments, int32_t replicas,
                                  const char* shape = "llama-3.2-1b") {
  return MakeFleet(Parse(std::move(arguments)), *NamedModelShape(shape), {.step = 1}, replicas, 9);
}

std::string Error(std::vector<std::string> arguments, const char* shape = "llama-3.2-1b") {
  return std::string(Make(std::move(arguments), 1, shape).status().message());
}

TEST(FleetOptionsTest, RatesStreamsAndRequestsAreForEachReplicaUnlessSaidOtherwise) {
  const std::vector<std::string> arguments = {"--requests", "7",
                                              "--tenant",   "name=a,rate=2.5",
                                              "--tenant",   "name=b,concurrency=4,weight=3"};
  const auto each = Make(arguments, 10);
  ASSERT_TRUE(each.ok()) << each.status();
  EXPECT_EQ(each->replicas, 10u);
  EXPECT_EQ(each->load.seed, 9u);
  EXPECT_EQ(each->load.max_requests, 70);
  EXPECT_EQ(each->load.tenants[0].rate, 25);
  EXPECT_EQ(each->load.tenants[1].concurrency, 40);
  ASSERT_EQ(each->replica.tenants.size(), 2u);
  EXPECT_EQ(each->replica.tenants[0].weight, 1);
  EXPECT_EQ(each->replica.tenants[1].weight, 3);
  std::vector<std::string> whole = arguments;
  whole.push_back("--whole-fleet");
  const auto all = Make(whole, 10);
  EXPECT_EQ(all->load.max_requests, 7);
  EXPECT_EQ(all->load.tenants[0].rate, 2.5);
  EXPECT_EQ(all->load.tenants[1].concurrency, 4);
}

TEST(FleetOptionsTest, AReplicaIsWhatTheServersOptionsSay) {
  const auto fleet = Make({"--rate",         "1",    "--max-step-tokens", "256",
                           "--max-running",  "16",   "--max-queued",      "5",
                           "--kv-memory",    "64M",  "--block-tokens",    "32",
                           "--kv-dtype",     "int8", "--overcommit",      "--no-prefix-cache",
                           "--overhead-us",  "40",   "--round-trip-us",   "600",
                           "--view-seconds", "0.5",  "--max-context",     "4096"},
                          1);
  ASSERT_TRUE(fleet.ok()) << fleet.status();
  const ReplicaOptions& replica = fleet->replica;
  EXPECT_EQ(replica.engine.max_step_tokens, 256);
  EXPECT_EQ(replica.engine.max_running_requests, 16);
  EXPECT_EQ(replica.engine.max_queued_requests, 5);
  EXPECT_EQ(replica.engine.max_context_tokens, 4096);
  EXPECT_TRUE(replica.engine.overcommit);
  EXPECT_FALSE(replica.prefix_cache);
  EXPECT_EQ(replica.kv_bytes, 64 << 20);
  EXPECT_EQ(replica.layouts[0].block_tokens, 32);
  EXPECT_EQ(replica.layouts[0].dtype, kernels::DType::kInt8);
  EXPECT_EQ(replica.overhead, std::chrono::microseconds(40));
  EXPECT_EQ(replica.one_way, std::chrono::microseconds(300));
  EXPECT_EQ(fleet->view_period, std::chrono::milliseconds(500));
  EXPECT_EQ(Make({"--rate", "1"}, 1)->replica.engine.max_context_tokens, 131072);
}

TEST(FleetOptionsTest, PoliciesAreNamedOnceAndInOneOrder) {
  EXPECT_EQ(PoliciesOf(Parse({})), RouterNames());
  EXPECT_THAT(PoliciesOf(Parse({"--policy", "least-kv,round-robin,least-kv"})),
              ElementsAre("round-robin", "least-kv"));
  EXPECT_THROW(Parse({"--policy", "random"}), CLI::ParseError);
  EXPECT_THROW(Parse({"--replicas", "0"}), CLI::ParseError);
}

TEST(FleetOptionsTest, WhatMakesNoSenseIsNamed) {
  EXPECT_THAT(Error({}), HasSubstr("neither a rate (open loop) nor a concurrency"));
  EXPECT_THAT(Error({"--tenant", "name=a,rate=1,key=k"}),
              HasSubstr("no server here to show a key"));
  EXPECT_THAT(Error({"--tenant", "name=a,rate=1,priority=-1"}), HasSubstr("a priority of -1"));
  EXPECT_THAT(Error({"--rate", "1", "--max-context", "200000"}), HasSubstr("takes 131072 tokens"));
  EXPECT_THAT(Error({"--rate", "1", "--prompt-tokens", "200000"}), HasSubstr("200000"));
  EXPECT_THAT(Error({"--rate", "1", "--kv-memory", "1000"}), HasSubstr("a block of KV takes"));
  EXPECT_THAT(Error({"--rate", "1", "--max-running", "600"}), HasSubstr("max_step_tokens"));
  EXPECT_THAT(Error({"--rate", "1"}, "gemma-2-2b"), HasSubstr("layers with a window"));
}

TEST(FleetOptionsTest, StepsAreMeasuredAsLongAsTheLoadsRequestsAre) {
  const auto fit = [](std::vector<std::string> arguments) {
    const FleetFlags flags = Parse(std::move(arguments));
    return MakeFitOptions(flags, *MakeFleet(flags, *NamedModelShape("llama-3.2-1b"), {}, 1, 1));
  };
  EXPECT_EQ(fit({"--rate", "1", "--prompt-tokens", "100", "--output-tokens", "20",
                 "--shared-prefix-tokens", "300"})
                .longest_context,
            420);
  EXPECT_EQ(fit({"--rate", "1", "--prompt-tokens", "100", "--prompt-sigma", "0.5",
                 "--output-tokens", "20"})
                .longest_context,
            291);  // e times 100, and 20: two deviations
  // No longer than the KV cache holds: 32 KiB a token.
  EXPECT_EQ(fit({"--rate", "1", "--prompt-tokens", "1000", "--kv-memory", "8M"}).longest_context,
            256);
}

TEST(FleetFitTest, StepsCoverWhatTheEngineMayAskFor) {
  FitOptions options;
  options.max_running = 24;
  options.max_step_tokens = 128;
  options.longest_context = 500;
  options.kv_bytes = int64_t{1} << 40;
  KvLayout layout;
  layout.block_tokens = 16;
  layout.layers = {{.kv_groups = 1, .head_dim = 16}};
  const auto largest = [&] {
    int32_t rows = 0, tokens = 0, context = 0;
    for (const StepRows& step : StepsToFit(options, layout)) {
      int32_t of_step = 0;
      for (const BenchRow& row : step) {
        of_step += row.tokens;
        context = std::max(context, row.start + row.tokens);
        EXPECT_GE(row.start, 0);
        EXPECT_GE(row.tokens, 1);
      }
      rows = std::max(rows, static_cast<int32_t>(step.size()));
      tokens = std::max(tokens, of_step);
      EXPECT_LE(of_step, options.max_step_tokens);
    }
    return std::tuple(rows, tokens, context);
  };
  EXPECT_EQ(largest(), std::tuple(25, 128, 500));  // decode rows, and a chunk beside them
  const auto block = static_cast<int64_t>(layout.BlockBytes());
  options.kv_bytes = 40 * block;
  EXPECT_EQ(std::get<0>(largest()), 24);  // with 16 tokens each
  options.kv_bytes = block;
  EXPECT_EQ(std::get<0>(largest()), 1);
  options.max_running = options.max_step_tokens = 1;
  options.longest_context = 2;
  EXPECT_EQ(largest(), std::tuple(1, 1, 2));
}

}  // namespace
}  // namespace quire::cli
