#include "server/periodic_task.h"

#include <utility>

namespace quire::server {

PeriodicTask::PeriodicTask(Duration period, std::function<void()> task)
    : period_(period), task_(std::move(task)), thread_([this] { Run(); }) {}

PeriodicTask::~PeriodicTask() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void PeriodicTask::Run() {
  while (AwaitNext()) task_();
}

bool PeriodicTask::AwaitNext() {
  MutexLock lock(&mu_);
  return !mu_.AwaitFor(period_, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_; });
}

}  // namespace quire::server
