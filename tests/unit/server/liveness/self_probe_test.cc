#include "server/liveness/self_probe.h"

#include <gtest/gtest.h>

#include <chrono>

namespace quire::server {
namespace {

constexpr Duration kOften = std::chrono::milliseconds(1);

TEST(SelfProbeTest, FailuresInARowCountUntilAProbeSucceeds) {
  // The probe is under way while the test looks at what came before it.
  Mutex mu;
  int allowed = 0, begun = 0;
  bool fails = true;
  const auto probe = [&] {
    MutexLock lock(&mu);
    ++begun;
    mu.Await([&] { return begun <= allowed; });
    return fails ? absl::UnavailableError("no answer") : absl::OkStatus();
  };
  SelfProbe self_probe(probe, kOften);
  // Lets `count` probes end, and waits until the next has begun.
  const auto run = [&](int count, bool failing) {
    MutexLock lock(&mu);
    mu.Await([&] { return begun == allowed + 1; });
    fails = failing;
    allowed += count;
    mu.Await([&] { return begun == allowed + 1; });
  };
  EXPECT_EQ(self_probe.result().failed, 0);
  run(2, true);
  EXPECT_EQ(self_probe.result().failed, 2);
  EXPECT_EQ(self_probe.result().error, "no answer");
  run(1, false);
  EXPECT_EQ(self_probe.result().failed, 0);
  run(3, true);
  EXPECT_EQ(self_probe.result().failed, 3);
  MutexLock lock(&mu);
  allowed = 1 << 30;
}

TEST(SelfProbeTest, ALongIntervalDoesNotHoldItsEnd) {
  const SelfProbe self_probe([] { return absl::OkStatus(); }, std::chrono::hours(1));
}

}  // namespace
}  // namespace quire::server
