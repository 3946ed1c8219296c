#include "server/stall_watch.h"

#include <gtest/gtest.h>

#include "tests/unit/server/fake_stream_writer.h"

namespace quire::server {
namespace {

// An hour passes whenever somebody looks.
class HourlyClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(std::chrono::hours(++looks_)); }

 private:
  mutable std::atomic<int> looks_{0};
};

TEST(StallWatchTest, EndsAStalledCallByItself) {
  HourlyClock clock;
  FakeStreamWriter writer;
  LiveStreams streams(2);
  const auto stalled = std::make_shared<OutputStream>(&writer, StreamLimits{1});
  stalled->Push(TokenChunk(1, "a"));
  ASSERT_TRUE(streams.Add(stalled, TenantId()).ok());
  std::atomic<uint64_t> count{0};
  const StallWatch watch(&streams, &clock, std::chrono::milliseconds(1), &count);
  while (count == 0) std::this_thread::yield();
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(writer.aborts(), 1);
}

TEST(StallWatchTest, EndsWithoutWaitingForItsNextLook) {
  const SteadyClock clock;
  LiveStreams streams(1);
  std::atomic<uint64_t> count{0};
  const StallWatch slow(&streams, &clock, std::chrono::hours(1), &count);
  const StallWatch off(&streams, &clock, Duration::zero(), &count);
}

}  // namespace
}  // namespace quire::server
