#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "server/cli/load/load_client.h"
#include "server/cli/load/load_results.h"
#include "server/cli/load/load_schedule.h"
#include "server/cli/load/prompt_source.h"

namespace quire::cli {

struct RunnerOptions {
  // Arrivals beyond wait in the client; their latency counts from when they were due all the same.
  int32_t max_in_flight = 10000;
  // Requests that may fail in a row before the run is given up.
  int32_t max_failures = 100;
  // How long requests may take once the last one is due.
  Duration drain = std::chrono::seconds(60);
};

enum class RunEnd { kComplete, kGaveUp, kInterrupted };

struct RunProgress {
  double seconds = 0;
  int32_t in_flight = 0;
  int64_t ok = 0;
  int64_t rejected = 0;
  int64_t failed = 0;
};

// How a run went, beside what its collector holds.
struct RunSummary {
  RunEnd end = RunEnd::kComplete;
  double window_seconds = 0;  // measured part
  int64_t held_back = 0;      // arrivals that waited because max_in_flight were under way
};

// Sends a schedule's requests when they are due and collects how they went. Run is called once;
// Interrupt from any thread.
class LoadRunner {
 public:
  // All must outlive this. `progress`, if any, is called about once a second from Run.
  LoadRunner(const RunnerOptions& options, LoadSchedule* schedule, const PromptSource* prompts,
             LoadClient* client, LoadCollector* collector,
             std::function<void(const RunProgress&)> progress);

  // `window` is the collector's; the run starts at `start`.
  RunSummary Run(TimePoint start, const Window& window);
  // Ends the run now; requests that are under way count as unfinished.
  void Interrupt();

 private:
  // Until a request has ended or the run is interrupted, and no longer than `until`.
  void Wait(TimePoint until);
  // Takes what has ended.
  void Absorb();
  std::optional<RunEnd> EarlyEnd();
  void Account(const RequestRecord& record);
  // When a request is to be sent; never, while all depends on those that are under way.
  TimePoint NextDue(TimePoint now);
  RequestRecord RecordOf(const PlannedRequest& planned) const;
  void SendOne();
  void ShowProgress(TimePoint now);
  void CancelRest();
  // What was due and found no room until the end would else be missing from the results.
  void CountUnsent(TimePoint stopped);

  const RunnerOptions options_;
  LoadSchedule* const schedule_;
  const PromptSource* const prompts_;
  LoadClient* const client_;
  LoadCollector* const collector_;
  const std::function<void(const RunProgress&)> progress_;
  const SteadyClock clock_;

  TimePoint start_;
  TimePoint last_end_;
  TimePoint next_progress_;
  TimePoint drained_by_;
  RunProgress counts_;
  int32_t failures_in_a_row_ = 0;
  bool cancelling_ = false;
  bool holding_back_ = false;  // a request is due and there is no room for it
  RunSummary summary_;

  Mutex mu_;
  std::deque<RequestRecord> ended_ ABSL_GUARDED_BY(mu_);
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire::cli
