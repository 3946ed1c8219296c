#include "server/cli/load/load_runner.h"

#include <gtest/gtest.h>

#include <thread>

namespace quire::cli {
namespace {

using std::chrono::milliseconds;

// Calls end at once, as `outcome` says, or never until they are cancelled.
class FakeClient final : public LoadClient {
 public:
  explicit FakeClient(Outcome outcome) : outcome_(outcome) {}

  absl::StatusOr<ServerLimits> Connect() override { return ServerLimits(); }
  void Start(ClientRequest request, Done done) override {
    ++started_;
    if (on_start_) on_start_(started_);
    prompt_tokens_ += request.prompt_ids.size();
    if (outcome_ == Outcome::kUnfinished) {
      waiting_.push_back(std::move(done));
    } else {
      End(done, outcome_);
    }
  }
  void CancelAll() override {
    for (const Done& done : waiting_) End(done, Outcome::kFailed);
    waiting_.clear();
  }

  void OnStart(std::function<void(int)> on_start) { on_start_ = std::move(on_start); }
  int started() const { return started_; }
  size_t prompt_tokens() const { return prompt_tokens_; }

 private:
  static void End(const Done& done, Outcome outcome) {
    CallResult result;
    result.sent = result.ended = std::chrono::steady_clock::now();
    result.outcome = outcome;
    if (outcome == Outcome::kOk) {
      result.messages.push_back({result.sent, 1});
      result.output_tokens = 1;
    }
    done(std::move(result));
  }

  const Outcome outcome_;
  std::vector<Done> waiting_;
  std::function<void(int)> on_start_;
  int started_ = 0;
  size_t prompt_tokens_ = 0;
};

// A run of `plan` against `client`.
class LoadRun {
 public:
  LoadRun(LoadPlan plan, FakeClient* client, RunnerOptions options = {})
      : start_(std::chrono::steady_clock::now()),
        window_{start_ + plan.warmup,
                plan.max_requests > 0 ? TimePoint::max() : start_ + plan.warmup + plan.duration},
        schedule_(plan, 0),
        collector_(plan.tenants, Slo(), window_, 1000, 1),
        runner_(options, &schedule_, &prompts_, client, &collector_, nullptr) {}

  RunSummary Go() { return runner_.Run(start_, window_); }
  LoadRunner* runner() { return &runner_; }
  const LoadGroup& total() const { return collector_.total(); }

 private:
  TimePoint start_;
  Window window_;
  PromptSource prompts_{1, 100, {}, false};
  LoadSchedule schedule_;
  LoadCollector collector_;
  LoadRunner runner_;
};

LoadPlan ClosedLoop(int32_t streams, int64_t requests) {
  LoadPlan plan{.tenants = {{.name = "a", .concurrency = streams}},
                .duration = std::chrono::hours(1),
                .max_requests = requests};
  plan.tenants[0].prompt.median = 7;
  plan.retry_pause = milliseconds(1);
  return plan;
}

TEST(LoadRunnerTest, AClosedLoopSendsTheNumberOfRequestsThatWasAskedFor) {
  FakeClient client(Outcome::kOk);
  LoadRun run(ClosedLoop(3, 50), &client);
  EXPECT_EQ(run.Go().end, RunEnd::kComplete);
  EXPECT_EQ(client.started(), 50);
  EXPECT_EQ(client.prompt_tokens(), 350u);
  EXPECT_EQ(run.total().ok, 50);
}

TEST(LoadRunnerTest, AnOpenLoopSendsOnWhateverHasNotEnded) {
  FakeClient client(Outcome::kUnfinished);
  LoadPlan plan{.tenants = {{.name = "a", .rate = 2000}}, .duration = milliseconds(100)};
  LoadRun run(plan, &client, {.drain = milliseconds(500)});
  const RunSummary summary = run.Go();
  EXPECT_EQ(summary.end, RunEnd::kComplete);
  EXPECT_NEAR(client.started(), 200, 60);
  EXPECT_EQ(run.total().unfinished, client.started());
  EXPECT_NEAR(summary.window_seconds, 0.1, 1e-6);
}

TEST(LoadRunnerTest, RequestsBeyondTheMostInFlightWaitAndAreReported) {
  FakeClient client(Outcome::kUnfinished);
  LoadPlan plan{.tenants = {{.name = "a", .rate = 2000}}, .duration = milliseconds(50)};
  LoadRun run(plan, &client, {.max_in_flight = 5, .drain = milliseconds(500)});
  const RunSummary summary = run.Go();
  EXPECT_EQ(client.started(), 5);
  EXPECT_NEAR(static_cast<double>(summary.held_back), 95, 40);
  EXPECT_EQ(run.total().unfinished, summary.held_back + 5);
  EXPECT_EQ(run.total().by_code.at("never sent"), summary.held_back);
}

TEST(LoadRunnerTest, AServerThatOnlyFailsEndsTheRun) {
  FakeClient client(Outcome::kFailed);
  LoadRun run(ClosedLoop(2, 1000), &client, {.max_failures = 10});
  EXPECT_EQ(run.Go().end, RunEnd::kGaveUp);
  EXPECT_EQ(run.total().failed, 10);
}

TEST(LoadRunnerTest, RejectionsDoNotEndTheRun) {
  FakeClient client(Outcome::kRejected);
  LoadRun run(ClosedLoop(2, 20), &client, {.max_failures = 10});
  EXPECT_EQ(run.Go().end, RunEnd::kComplete);
  EXPECT_EQ(run.total().rejected, 20);
}

TEST(LoadRunnerTest, AnInterruptEndsTheRunWithWhatThereIs) {
  FakeClient client(Outcome::kUnfinished);
  LoadRun run(ClosedLoop(4, 1000), &client);
  std::thread interrupter;
  client.OnStart([&](int started) {
    if (started == 4) interrupter = std::thread([&run] { run.runner()->Interrupt(); });
  });
  EXPECT_EQ(run.Go().end, RunEnd::kInterrupted);
  interrupter.join();
  EXPECT_EQ(run.total().unfinished, 4);
}

}  // namespace
}  // namespace quire::cli
