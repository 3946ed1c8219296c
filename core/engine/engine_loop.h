#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/engine/engine.h"

namespace quire {

// The engine thread: steps while there is work, sleeps while there is none. Worker 0 of the CPU
// back end's pool is this thread.
class EngineLoop {
 public:
  // `on_device_failure` is called once, on the engine thread, after every live request has been
  // ended because the device failed.
  EngineLoop(Engine* engine, std::function<void()> on_device_failure);
  // Drains without grace.
  ~EngineLoop();

  // Refuses new requests, lets the live ones finish for up to `grace`, ends the rest with
  // kShutdown and joins the thread. Every request has its terminal event when it returns.
  // Any thread but the engine's; later calls wait for the first and do nothing.
  void Drain(Duration grace);
  // Cuts the grace of a Drain that is under way. Any thread.
  void EndGrace();

 private:
  void Run();

  Engine* const engine_;
  const std::function<void()> on_device_failure_;
  Mutex drain_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  Mutex mu_;
  bool idle_ ABSL_GUARDED_BY(mu_) = false;  // the last step left no live request
  bool hurry_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_ ABSL_GUARDED_BY(drain_mu_);
};

}  // namespace quire
