#include "server/cli/fleet/replica.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/unit/server/cli/fleet/small_fleet.h"

namespace quire::cli {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr TimePoint kStart = TimePoint(std::chrono::hours(1));

Request MakeRequest(int32_t prompt, int32_t output, TokenId first = 0) {
  Request request;
  request.prompt.resize(static_cast<size_t>(prompt));
  std::iota(request.prompt.begin(), request.prompt.end(), first);
  request.sampling.max_tokens = output;
  request.sampling.ignore_eos = true;
  return request;
}

// Until there is nothing to do; when the last step ended.
TimePoint RunToEnd(Replica* replica, TimePoint now) {
  while (const auto end = replica->Step(now)) now = *end;
  return now;
}

Duration StepTime(const ReplicaOptions& options, std::vector<std::pair<int32_t, int32_t>> rows) {
  StepWork work;
  for (const auto& [start, tokens] : rows) work.Add(start, tokens);
  return FromSeconds(options.times.Seconds(work)) + options.overhead;
}

TEST(ReplicaTest, ATokenComesWhenItsStepsArePredictedToEnd) {
  ReplicaOptions options = SmallReplica();
  options.overhead = microseconds(70);
  options.one_way = microseconds(300);
  Replica replica(options, kStart);
  EXPECT_EQ(replica.Step(kStart), std::nullopt);
  const TimePoint arrival = kStart + milliseconds(3);
  ASSERT_TRUE(replica.Submit(MakeRequest(100, 3), {}, arrival).ok());
  const TimePoint end = RunToEnd(&replica, arrival);
  const auto ended = replica.TakeEnded();
  ASSERT_EQ(ended.size(), 1u);
  const CallResult& result = ended[0].result;
  ASSERT_EQ(result.messages.size(), 3u);
  // Of 100 tokens a step takes 64, and the next one the rest.
  TimePoint expected = arrival + StepTime(options, {{0, 64}}) + StepTime(options, {{64, 36}});
  EXPECT_EQ(result.messages[0].at, expected + options.one_way);
  expected += StepTime(options, {{100, 1}});
  EXPECT_EQ(result.messages[1].at, expected + options.one_way);
  expected += StepTime(options, {{101, 1}});
  EXPECT_EQ(result.messages[2].at, expected + options.one_way);
  EXPECT_EQ(result.ended, expected + options.one_way);
  EXPECT_EQ(end, expected);
  EXPECT_EQ(result.outcome, Outcome::kOk);
  EXPECT_EQ(result.output_tokens, 3);
  EXPECT_EQ(replica.counts().steps, 4u);
}

TEST(ReplicaTest, APrefixThatWasComputedIsFound) {
  for (const bool cache : {true, false}) {
    ReplicaOptions options = SmallReplica();
    options.prefix_cache = cache;
    Replica replica(options, kStart);
    TimePoint now = kStart;
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(replica.Submit(MakeRequest(65, 1), {}, now).ok());
      now = RunToEnd(&replica, now);
    }
    const ReplicaCounts counts = replica.counts();
    EXPECT_EQ(counts.prefix_hit_tokens, cache ? 64u : 0u);
    EXPECT_EQ(counts.prefix_queried_tokens, cache ? 2 * 65u : 0u);
    EXPECT_EQ(counts.steps, cache ? 3u : 4u);
  }
}

TEST(ReplicaTest, WhatDecodeRowsShareIsCountedOnce) {
  BatchInput input;
  input.q_start = {0, 1, 2, 3, 7};
  input.kv_len = {40, 36, 20, 36};
  input.tables[0].start = {0, 3, 6, 8, 11};
  input.tables[0].offsets = {7, 8, 9, 7, 8, 4, 5, 8, 7, 8, 6};
  const StepWork work = WorkOf(input, 16);
  EXPECT_EQ(work.decode_rows, 3);
  EXPECT_EQ(work.decode_kv, 40 + 36 + 20);
  EXPECT_EQ(work.shared_kv, 2 * 16);  // of the second row with the first
  EXPECT_EQ(work.prompt_tokens, 4);
}

TEST(ReplicaTest, TheStateIsWhatIsPromisedAndQueued) {
  ReplicaOptions options = SmallReplica();
  options.engine.max_running_requests = 1;
  Replica replica(options, kStart);
  ReplicaState state;
  ASSERT_TRUE(replica.Submit(MakeRequest(30, 4), {}, kStart).ok());
  replica.Describe(&state);
  EXPECT_EQ(state.load, 30);  // nobody has looked at it
  const TimePoint first = replica.Step(kStart).value();
  replica.Describe(&state);
  EXPECT_EQ(state.load, 48);  // 33 positions of KV in blocks of 16
  EXPECT_GT(replica.KvUse(), 0);
  EXPECT_EQ(state.tenants[0].waiting, 0);
  EXPECT_EQ(state.tenants[0].cost, 30 + 2);
  ASSERT_TRUE(replica.Submit(MakeRequest(20, 4), {}, first).ok());
  replica.Describe(&state);
  EXPECT_EQ(state.tenants[0].waiting, 0);
  TimePoint now = replica.Step(first).value();
  replica.Describe(&state);
  EXPECT_EQ(state.load, 48 + 20);
  EXPECT_EQ(state.tenants[0].tokens, state.load);
  EXPECT_EQ(state.tenants[0].waiting, 1);
  RunToEnd(&replica, now);
  replica.Describe(&state);
  EXPECT_EQ(state.load, 0);
  EXPECT_EQ(replica.KvUse(), 0);
  EXPECT_GT(replica.counts().step_seconds, 0);
}

TEST(ReplicaTest, WhatDoesNotFitTheQueueIsRefusedAndWhatRunsIsEndedByAbort) {
  ReplicaOptions options = SmallReplica();
  options.engine.max_queued_requests = 2;
  Replica replica(options, kStart);
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = replica.Submit(MakeRequest(16, 9, 100 * i), {}, kStart);
    EXPECT_EQ(status.code(), i < 2 ? absl::StatusCode::kOk : absl::StatusCode::kResourceExhausted);
  }
  replica.Step(kStart);
  EXPECT_EQ(replica.live_requests(), 2);
  replica.Abort();
  const auto ended = replica.TakeEnded();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].result.outcome, Outcome::kUnfinished);
  EXPECT_EQ(ended[0].result.messages.size(), 1u);
  EXPECT_EQ(replica.live_requests(), 0);
}

}  // namespace
}  // namespace quire::cli
