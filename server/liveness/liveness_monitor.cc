#include "server/liveness/liveness_monitor.h"

#include <chrono>
#include <utility>

namespace quire::server {

LivenessMonitor::LivenessMonitor(const LivenessLimits& limits, Duration interval,
                                 std::function<LivenessFacts()> look,
                                 std::function<void(const LivenessReport&)> report)
    : interval_(interval),
      look_(std::move(look)),
      report_(std::move(report)),
      judge_(limits, 2 * interval),
      thread_([this] { Run(); }) {}

LivenessMonitor::~LivenessMonitor() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  thread_.join();
}

bool LivenessMonitor::Stopped() {
  MutexLock lock(&mu_);
  return mu_.AwaitFor(interval_, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stop_; });
}

void LivenessMonitor::Run() {
  LivenessState before = LivenessState::kLive;
  while (before != LivenessState::kOver && !Stopped()) {
    LivenessReport report{.facts = look_()};
    report.state = judge_.Look(std::chrono::steady_clock::now(), report.facts);
    report.changed = report.state != before;
    report.stalled = judge_.stalled();
    report.stuck = judge_.stuck();
    before = report.state;
    report_(report);
  }
}

}  // namespace quire::server
