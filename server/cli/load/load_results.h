#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "server/cli/load/load_client.h"
#include "server/cli/load/sample_set.h"

namespace quire::cli {

// Service level that a request may meet; nothing: not asked for.
struct Slo {
  std::optional<double> ttft_seconds = {};
  // Of the request's mean time per output token after the first.
  std::optional<double> itl_seconds = {};
  bool any() const { return ttft_seconds.has_value() || itl_seconds.has_value(); }
};

// The measured part of a run: after the warm-up, until the last arrival's time or, where a number
// of requests ends the run, until the end.
struct Window {
  TimePoint begin;
  TimePoint end;
};

// A request that has ended. Latencies count from when it was due, whenever the client got to send
// it (Tene's coordinated omission).
struct RequestRecord {
  int32_t tenant = 0;
  int32_t prompt_tokens = 0;
  TimePoint scheduled;
  bool measured = false;
  CallResult result;
};

// Results of a tenant, or of all. Counts and latencies are of the requests that were due in the
// window; amounts are what happened in it, whenever the request was due, so that a queue left over
// at the end adds nothing to a rate. In seconds.
struct LoadGroup {
  LoadGroup(std::string group_name, size_t max_samples, uint64_t seed);

  std::string name;
  int64_t sent = 0;
  int64_t ok = 0;
  int64_t rejected = 0;
  int64_t failed = 0;
  int64_t unfinished = 0;
  int64_t retry_hints = 0;  // rejections that said when to come back
  int64_t met_slo = 0;
  std::map<std::string, int64_t> by_code;
  SampleSet ttft;
  SampleSet inter_token;  // between messages that bring tokens
  SampleSet per_token;    // a request's mean after its first message
  SampleSet end_to_end;
  SampleSet rejection;
  int64_t completed_in_window = 0;
  int64_t good_in_window = 0;
  double input_tokens = 0;  // of prompts whose first token came in the window
  double output_tokens = 0;
};

// One second of the run, by when things happened.
struct LoadSecond {
  int64_t due = 0;
  int64_t ok = 0;
  int64_t rejected = 0;
  int64_t failed = 0;
  double output_tokens = 0;
  double worst_ttft = 0;  // seconds, of the first tokens that came in it
};

// Adds up records. Memory: 4 bytes a sample, at most max_samples for each of 5 metrics of each
// tenant and of the total, and of the lag; 48 bytes a second of series. Not thread-safe.
class LoadCollector {
 public:
  LoadCollector(const std::vector<TenantSpec>& tenants, const Slo& slo, const Window& window,
                size_t max_samples, uint64_t seed);

  void Add(const RequestRecord& record);

  const std::vector<LoadGroup>& tenants() const { return tenants_; }
  const LoadGroup& total() const { return total_; }
  const SampleSet& lag() const { return lag_; }
  const std::vector<LoadSecond>& series() const { return series_; }
  bool MetSlo(const RequestRecord& record) const;
  // One of the failures' messages, the last one.
  const std::string& last_failure() const { return last_failure_; }

 private:
  void AddMeasured(const RequestRecord& record, LoadGroup* group) const;
  void AddAmounts(const RequestRecord& record, LoadGroup* group) const;
  void AddToSeries(const RequestRecord& record);
  LoadSecond* SecondOf(TimePoint time);
  bool InWindow(TimePoint time) const { return time >= window_.begin && time < window_.end; }

  Slo slo_;
  Window window_;
  std::vector<LoadGroup> tenants_;
  LoadGroup total_;
  SampleSet lag_;
  std::vector<LoadSecond> series_;  // from the window's begin
  std::string last_failure_;
};

}  // namespace quire::cli
