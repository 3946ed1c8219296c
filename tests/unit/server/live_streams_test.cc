#include "server/live_streams.h"

#include <gtest/gtest.h>

#include "core/base/refusal.h"
#include "tests/unit/server/fake_stream_writer.h"

namespace quire::server {
namespace {

TEST(LiveStreamsTest, RefusesTheStreamBeyondTheBoundAndTakesOneWhenAnotherHasGone) {
  FakeStreamWriter writer;
  LiveStreams streams(2);
  const auto make = [&] { return std::make_shared<OutputStream>(&writer, 1); };
  const auto first = make();
  EXPECT_TRUE(streams.Add(first).ok());
  EXPECT_TRUE(streams.Add(make()).ok());
  const absl::Status refused = streams.Add(make());
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RefusalOf(refused)->reason, "TOO_MANY_STREAMS");
  EXPECT_GT(RefusalOf(refused)->retry_after, Duration::zero());
  streams.Remove(first);
  EXPECT_TRUE(streams.Add(make()).ok());
  EXPECT_EQ(streams.size(), 2u);
}

TEST(LiveStreamsTest, RemovingAStreamThatWasNotAddedDoesNothing) {
  FakeStreamWriter writer;
  LiveStreams streams(1);
  ASSERT_TRUE(streams.Add(std::make_shared<OutputStream>(&writer, 1)).ok());
  streams.Remove(std::make_shared<OutputStream>(&writer, 1));
  EXPECT_EQ(streams.size(), 1u);
}

TEST(LiveStreamsTest, AwaitEmptySaysWhetherTheLastOneIsGone) {
  FakeStreamWriter writer;
  LiveStreams streams(1);
  EXPECT_TRUE(streams.AwaitEmpty(Duration::zero()));
  const auto stream = std::make_shared<OutputStream>(&writer, 1);
  ASSERT_TRUE(streams.Add(stream).ok());
  EXPECT_FALSE(streams.AwaitEmpty(Duration::zero()));
  streams.Remove(stream);
  EXPECT_TRUE(streams.AwaitEmpty(Duration::zero()));
}

TEST(LiveStreamsTest, AbortAllReachesEveryStream) {
  FakeStreamWriter writers[3];
  LiveStreams streams(3);
  for (FakeStreamWriter& writer : writers) {
    ASSERT_TRUE(streams.Add(std::make_shared<OutputStream>(&writer, 1)).ok());
  }
  streams.AbortAll();
  for (const FakeStreamWriter& writer : writers) EXPECT_EQ(writer.aborts(), 1);
}

}  // namespace
}  // namespace quire::server
