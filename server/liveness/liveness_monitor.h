#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/liveness/liveness_judge.h"

namespace quire::server {

// What a look at the process has led to.
struct LivenessReport {
  LivenessState state = LivenessState::kLive;
  bool changed = false;  // since the last look; before the first it was kLive
  Duration stalled{};    // see LivenessJudge
  bool stuck = false;
  LivenessFacts facts = {};
};

// Looks at the process regularly, on a thread of its own, and ends with kOver.
class LivenessMonitor {
 public:
  // Both are called on the monitor's thread at each look, and must not wait for the engine.
  LivenessMonitor(const LivenessLimits& limits, Duration interval,
                  std::function<LivenessFacts()> look,
                  std::function<void(const LivenessReport&)> report);
  ~LivenessMonitor();

 private:
  void Run();
  bool Stopped();  // waits for the next look

  const Duration interval_;
  const std::function<LivenessFacts()> look_;
  const std::function<void(const LivenessReport&)> report_;
  LivenessJudge judge_;  // the thread's
  Mutex mu_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quire::server
