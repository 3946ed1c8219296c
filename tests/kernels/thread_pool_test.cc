#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace quire::kernels {
namespace {

// A tenth of a millisecond of computing.
void Spin() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
  while (std::chrono::steady_clock::now() < end) {
  }
}

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEveryItemOnceAndReturnsAfterTheLast) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (int64_t items : {0, 1, 2, 3, 7, 1000}) {
    std::vector<int> runs(static_cast<size_t>(items));
    std::vector<int> workers(static_cast<size_t>(items), -1);
    pool.ParallelFor(items, [&](int64_t item, int worker) {
      ++runs[static_cast<size_t>(item)];
      workers[static_cast<size_t>(item)] = worker;
    });
    for (int run : runs) EXPECT_EQ(run, 1);
    for (int worker : workers) {
      EXPECT_GE(worker, 0);
      EXPECT_LT(worker, pool.size());
    }
  }
}

// Plain memory written in one loop is read in the next: what thread sanitizer would object to.
TEST_P(ThreadPoolTest, TenThousandLoopsSeeEachOthersWrites) {
  ThreadPool pool(GetParam());
  constexpr int64_t kItems = 5;
  std::vector<int64_t> from(kItems, 0);
  std::vector<int64_t> to(kItems, 0);
  for (int loop = 0; loop < 10000; ++loop) {
    pool.ParallelFor(kItems, [&](int64_t item, int) {
      to[static_cast<size_t>(item)] = from[static_cast<size_t>((item + 1) % kItems)] + 1;
    });
    from.swap(to);
  }
  for (int64_t value : from) EXPECT_EQ(value, 10000);
}

TEST_P(ThreadPoolTest, AWorkerIsNeverInTwoItemsAtOnce) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> busy(static_cast<size_t>(pool.size()));
  std::atomic<int> clashes{0};
  pool.ParallelFor(5000, [&](int64_t, int worker) {
    auto& flag = busy[static_cast<size_t>(worker)];
    if (flag.fetch_add(1) != 0) clashes.fetch_add(1);
    flag.fetch_sub(1);
  });
  EXPECT_EQ(clashes.load(), 0);
}

// Longer than a worker keeps its core without offering it, and with more workers than cores.
TEST_P(ThreadPoolTest, LongLoopsRunEveryItemOnceBesideAnotherPool) {
  ThreadPool neighbour(GetParam());
  std::atomic<bool> finished{false};
  std::thread busy([&] {
    while (!finished.load()) neighbour.ParallelFor(GetParam(), [](int64_t, int) { Spin(); });
  });
  ThreadPool pool(GetParam());
  std::vector<int> runs(200);
  for (int loop = 1; loop <= 3; ++loop) {
    pool.ParallelFor(static_cast<int64_t>(runs.size()), [&](int64_t item, int) {
      Spin();
      ++runs[static_cast<size_t>(item)];
    });
    for (int run : runs) EXPECT_EQ(run, loop);
  }
  finished.store(true);
  busy.join();
}

TEST_P(ThreadPoolTest, StopsWithoutEverHavingWorked) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(GetParam());
}

TEST(ThreadPoolOverlapTest, WorkersJoinALoopThatWaitsForThem) {
  ThreadPool pool(3);
  std::atomic<int> arrived{0};
  pool.ParallelFor(3, [&](int64_t, int) {
    arrived.fetch_add(1);
    arrived.notify_all();
    for (int seen = arrived.load(); seen < 3; seen = arrived.load()) arrived.wait(seen);
  });
  EXPECT_EQ(arrived.load(), 3);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace quire::kernels
