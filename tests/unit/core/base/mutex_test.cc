#include "core/base/mutex.h"

#include <thread>

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(MutexTest, TheLongestTimeoutWaitsForTheCondition) {
  Mutex mu;
  bool waiting = false, done = false;
  std::thread setter([&] {
    MutexLock lock(&mu);
    mu.Await([&] { return waiting; });
    done = true;
  });
  {
    MutexLock lock(&mu);
    waiting = true;
    EXPECT_TRUE(mu.AwaitFor(Duration::max(), [&] { return done; }));
  }
  setter.join();
}

TEST(MutexTest, AConditionThatNeverHoldsEndsWithTheTimeout) {
  Mutex mu;
  for (Duration timeout : {Duration::min(), Duration(-1), Duration::zero(), Duration(1000)}) {
    MutexLock lock(&mu);
    EXPECT_FALSE(mu.AwaitFor(timeout, [] { return false; }));
  }
}

}  // namespace
}  // namespace quire
