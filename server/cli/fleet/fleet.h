#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/cli/fleet/fairness_meter.h"
#include "server/cli/fleet/replica.h"
#include "server/cli/fleet/replica_state.h"
#include "server/cli/fleet/router.h"
#include "server/cli/load/load_results.h"
#include "server/cli/load/load_schedule.h"
#include "server/cli/load/prompt_source.h"

namespace quire::cli {

struct FleetOptions {
  ReplicaOptions replica;
  size_t replicas = 1;
  Duration view_period{};  // how often the router asks each replica; 0: it knows
  LoadPlan load;           // of the whole fleet
  Duration drain = std::chrono::seconds(60);
  Slo slo;
  size_t max_samples = 1 << 20;
};

// How a run went. Times in seconds, of virtual time.
struct FleetResult {
  explicit FleetResult(LoadCollector results) : load(std::move(results)) {}

  LoadCollector load;
  double window_seconds = 0;  // measured part
  double busy = 0;            // of which replicas compute: mean of all
  double kv_mean = 0;         // share of the KV cache in use, over that time: mean of the replicas
  double kv_max = 0;          // and the highest of them
  double least_requests = 0, most_requests = 0;  // sent to a replica, to the mean of all
  std::vector<TenantFairness> fairness;          // by tenant
  double contended_seconds = 0;                  // of which it is
  // Of the whole run, with its warm-up.
  uint64_t steps = 0;
  uint64_t preempted = 0;
  double step_seconds = 0;  // of a step, on average
  double hit_ratio = 0;     // of prompt tokens: found and not computed
};

// Replicas and clients in virtual time: arrivals and the ends of steps, in order. The same options
// and router give the same result. One thread.
class Fleet {
 public:
  // All must outlive it.
  Fleet(const FleetOptions& options, const PromptSource* prompts, Router* router);

  // Runs once. `progress`, if any, is called now and then with the part that is done.
  FleetResult Run(const std::function<void(double)>& progress);

 private:
  struct StepEvent {
    TimePoint at;
    bool begins;  // else one ends; what ends comes before what begins at that time
    size_t replica;
    bool operator>(const StepEvent& other) const {
      return std::tie(at, begins, replica) > std::tie(other.at, other.begins, other.replica);
    }
  };
  struct Member {
    Member(const FleetOptions& options, size_t number, TimePoint start);
    Replica replica;
    AgedState state;
    bool steps = false;       // an event of it is pending
    uint64_t requests = 0;    // measured ones that were sent to it
    double busy_seconds = 0;  // measured, as is
    double kv_seconds = 0;    // the share of its KV cache in use, times time
    // Of the newest step.
    TimePoint began{};
    bool contended = false;
    std::vector<double> cost;  // by tenant, before it
  };

  TimePoint NextArrival() const;
  void Arrive(TimePoint at);
  RequestRecord RecordOf(const PlannedRequest& planned) const;
  absl::Status Send(const PlannedRequest& planned, TimePoint at);
  void BeginStep(size_t number, TimePoint at);
  // From now on the router may know what came of it.
  void EndStep(size_t number, TimePoint at);
  void Account(const RequestRecord& record);
  double MeasuredSeconds(TimePoint from, TimePoint to) const;
  void AbortAll();
  void SummarizeReplicas(FleetResult* result) const;
  FleetResult Summarize(TimePoint now);

  const FleetOptions& options_;
  const PromptSource* const prompts_;
  Router* const router_;
  const TimePoint start_;
  const Window window_;
  LoadSchedule schedule_;
  LoadCollector results_;
  FairnessMeter fairness_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<const ReplicaState*> view_;
  std::priority_queue<StepEvent, std::vector<StepEvent>, std::greater<>> events_;
  ReplicaState scratch_;
  TimePoint last_end_;
};

}  // namespace quire::cli
