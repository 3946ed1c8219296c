#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace quire::server {

// Probes again and again, on a thread of its own, and counts failures in a row.
class SelfProbe {
 public:
  // The first probe comes after `interval`.
  SelfProbe(std::function<absl::Status()> probe, Duration interval);
  // Waits for a probe that is under way.
  ~SelfProbe();

  struct Result {
    int32_t failed = 0;  // the last so many
    std::string error;   // of the last one
  };
  Result result() const;  // any thread

 private:
  void Run();

  const std::function<absl::Status()> probe_;
  const Duration interval_;
  mutable Mutex mu_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  Result result_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quire::server
