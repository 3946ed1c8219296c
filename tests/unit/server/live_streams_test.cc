#include "server/live_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/refusal.h"
#include "tests/unit/server/fake_stream_writer.h"

namespace quire::server {
namespace {

using ::testing::HasSubstr;

TEST(LiveStreamsTest, RefusesTheStreamBeyondTheBoundAndTakesOneWhenAnotherHasGone) {
  FakeStreamWriter writer;
  LiveStreams streams(2);
  const auto make = [&] { return std::make_shared<OutputStream>(&writer, StreamLimits{1}); };
  const auto first = make();
  EXPECT_TRUE(streams.Add(first, TenantId()).ok());
  EXPECT_TRUE(streams.Add(make(), TenantId()).ok());
  const absl::Status refused = streams.Add(make(), TenantId());
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RefusalOf(refused)->reason, "TOO_MANY_STREAMS");
  EXPECT_GT(RefusalOf(refused)->retry_after, Duration::zero());
  streams.Remove(first);
  EXPECT_TRUE(streams.Add(make(), TenantId()).ok());
  EXPECT_EQ(streams.size(), 2u);
}

TEST(LiveStreamsTest, RemovingAStreamThatWasNotAddedDoesNothing) {
  FakeStreamWriter writer;
  LiveStreams streams(1);
  ASSERT_TRUE(
      streams.Add(std::make_shared<OutputStream>(&writer, StreamLimits{1}), TenantId()).ok());
  streams.Remove(std::make_shared<OutputStream>(&writer, StreamLimits{1}));
  EXPECT_EQ(streams.size(), 1u);
}

TEST(LiveStreamsTest, AwaitEmptySaysWhetherTheLastOneIsGone) {
  FakeStreamWriter writer;
  LiveStreams streams(1);
  EXPECT_TRUE(streams.AwaitEmpty(Duration::zero()));
  const auto stream = std::make_shared<OutputStream>(&writer, StreamLimits{1});
  ASSERT_TRUE(streams.Add(stream, TenantId()).ok());
  EXPECT_FALSE(streams.AwaitEmpty(Duration::zero()));
  streams.Remove(stream);
  EXPECT_TRUE(streams.AwaitEmpty(Duration::zero()));
}

TEST(LiveStreamsTest, AbortAllReachesEveryStream) {
  FakeStreamWriter writers[3];
  LiveStreams streams(3);
  for (FakeStreamWriter& writer : writers) {
    ASSERT_TRUE(
        streams.Add(std::make_shared<OutputStream>(&writer, StreamLimits{1}), TenantId()).ok());
  }
  streams.AbortAll();
  for (const FakeStreamWriter& writer : writers) EXPECT_EQ(writer.aborts(), 1);
}

class LiveStreamsOfTenantsTest : public ::testing::Test {
 protected:
  // As many as the tenant gets.
  int Fill(TenantId tenant) {
    int count = 0;
    while (streams_.Add(Make(), tenant).ok()) ++count;
    return count;
  }
  std::shared_ptr<OutputStream> Make() {
    return std::make_shared<OutputStream>(&writer_, StreamLimits{1});
  }

  FakeStreamWriter writer_;
  LiveStreams streams_{64};
};

TEST_F(LiveStreamsOfTenantsTest, EachGetsThreeQuartersOfWhatTheOthersLeave) {
  EXPECT_EQ(Fill(TenantId(1)), 48);
  EXPECT_EQ(Fill(TenantId(2)), 12);
  EXPECT_EQ(Fill(TenantId(3)), 3);
  EXPECT_EQ(Fill(TenantId(4)), 1);
  EXPECT_EQ(Fill(TenantId(5)), 0);
  EXPECT_EQ(Fill(TenantId(1)), 0);
}

TEST_F(LiveStreamsOfTenantsTest, ARefusalSaysWhoseStreamsAreTooMany) {
  Fill(TenantId(1));
  const absl::Status refused = streams_.Add(Make(), TenantId(1));
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RefusalOf(refused)->reason, "TOO_MANY_STREAMS");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the tenant has 48 open streams"));
}

TEST_F(LiveStreamsOfTenantsTest, WhatHasGoneCountsForNobody) {
  const auto stream = Make();
  ASSERT_TRUE(streams_.Add(stream, TenantId(1)).ok());
  EXPECT_EQ(Fill(TenantId(1)), 47);
  streams_.Remove(stream);
  streams_.Remove(stream);
  EXPECT_EQ(Fill(TenantId(1)), 1);
}

TEST(LiveStreamsTest, OnlyStalledStreamsAreAbortedAndCounted) {
  constexpr Duration kTimeout = std::chrono::seconds(10);
  const TimePoint start = TimePoint(std::chrono::hours(1));
  FakeStreamWriter writers[3];
  LiveStreams streams(3);
  for (FakeStreamWriter& writer : writers) {
    const auto stream = std::make_shared<OutputStream>(&writer, StreamLimits{1});
    ASSERT_TRUE(streams.Add(stream, TenantId()).ok());
    if (&writer != &writers[1]) stream->Push(TokenChunk(1, "a"));
  }
  EXPECT_EQ(streams.AbortStalled(start, kTimeout), 0);
  EXPECT_EQ(streams.AbortStalled(start + kTimeout, kTimeout), 2);
  EXPECT_EQ(streams.AbortStalled(start + 2 * kTimeout, kTimeout), 0);
  EXPECT_EQ(writers[0].aborts(), 1);
  EXPECT_EQ(writers[1].aborts(), 0);
  EXPECT_EQ(writers[2].aborts(), 1);
}

}  // namespace
}  // namespace quire::server
