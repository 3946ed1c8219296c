#include "server/cli/bench_machine.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "kernels/api/device.h"
#include "kernels/api/device_factory.h"
#include "server/cli/bench_flops.h"

namespace quire::cli {
namespace {

// Rounds of a few milliseconds: short enough that some find every core free, on a busy machine too.
constexpr int kRounds = 48;
constexpr int64_t kFlopsIterations = int64_t{1} << 20;
// Rounds read one slice after the other; all of them together fit in no cache.
constexpr size_t kSlices = 16;
constexpr size_t kSliceBytes = size_t{16} << 20;

using Slice = std::span<uint64_t>;
using Work = std::function<void(int32_t thread, int round)>;

// Seconds until every one of `threads` copies of `work`, started together, is done.
double TimeTogether(int32_t threads, int round, const Work& work) {
  std::barrier ready(threads);
  std::vector<std::thread> others;
  for (int32_t i = 1; i < threads; ++i) {
    others.emplace_back([&, i] {
      ready.arrive_and_wait();
      work(i, round);
    });
  }
  ready.arrive_and_wait();
  const SteadyClock clock;
  const TimePoint start = clock.Now();
  work(0, round);
  for (std::thread& other : others) other.join();
  return ToSeconds(clock.Now() - start);
}

double BestRound(int32_t threads, const Work& work) {
  double best = TimeTogether(threads, 0, work);
  for (int i = 1; i < kRounds; ++i) best = std::min(best, TimeTogether(threads, i, work));
  return best;
}

// Several streams at once, each asked for some lines ahead: one stream alone is slower on most
// machines than what the kernels read.
uint64_t Sum(Slice values) {
  constexpr size_t kStreams = 4;
  constexpr size_t kLine = 8;
  constexpr size_t kAhead = 16 * kLine;
  const size_t length = values.size() / kStreams;
  uint64_t sums[kLine] = {};
  for (size_t i = 0; i + kLine <= length; i += kLine) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const uint64_t* line = values.data() + stream * length + i;
      __builtin_prefetch(line + kAhead);
      for (size_t j = 0; j < kLine; ++j) sums[j] += line[j];
    }
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

// Of memory as weights and KV have it: in huge pages where the system gives them, which are read
// faster. 0 where there is not enough of it.
double MeasureReads(int32_t threads) {
  std::unique_ptr<kernels::Device> device;
  kernels::DeviceBuffer memory;
  const size_t bytes = static_cast<size_t>(threads) * kSlices * kSliceBytes;
  if (!kernels::CreateDevice({.kind = "cpu", .threads = 1}, &device).ok() ||
      !device->Allocate(bytes, &memory).ok()) {
    return 0;
  }
  const auto slice = [&](int32_t thread, size_t index) {
    const size_t begin = (static_cast<size_t>(thread) * kSlices + index) * kSliceBytes;
    return Slice(reinterpret_cast<uint64_t*>(memory.data() + begin),
                 kSliceBytes / sizeof(uint64_t));
  };
  // Each thread touches its own memory first, so that it lies next to the thread's core.
  TimeTogether(threads, 0, [&](int32_t thread, int) {
    for (size_t i = 0; i < kSlices; ++i) std::ranges::fill(slice(thread, i), uint64_t{1});
  });
  std::atomic<uint64_t> sink{0};
  const double seconds = BestRound(threads, [&](int32_t thread, int round) {
    sink.fetch_add(Sum(slice(thread, static_cast<size_t>(round) % kSlices)));
  });
  return static_cast<double>(kSliceBytes) * threads / seconds;
}

}  // namespace

MachineSpeed MeasureMachine(int32_t threads, kernels::DType dtype, kernels::WeightFormat weights) {
  MachineSpeed speed;
  double load = 0;
  if (getloadavg(&load, 1) == 1) speed.load_average = load;
  speed.read_bytes_per_second = MeasureReads(threads);
  const FlopsLoop loop = FastestFlopsLoop(dtype, weights);
  std::atomic<float> sink{0};
  const double seconds =
      BestRound(threads, [&](int32_t, int) { sink.store(loop.run(kFlopsIterations)); });
  speed.flops_per_second = static_cast<double>(kFlopsIterations * loop.flops_per_iteration) *
                           static_cast<double>(threads) / seconds;
  speed.flops_with = loop.name;
  return speed;
}

}  // namespace quire::cli
