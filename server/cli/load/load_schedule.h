#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "server/cli/load/load_laws.h"
#include "server/cli/load/tenant_spec.h"

namespace quire::cli {

// What is sent, and when. Times are from the start of the run.
struct LoadPlan {
  std::vector<TenantSpec> tenants;  // validated
  uint64_t seed = 0;
  Duration warmup{};                             // what is sent in it is not measured
  Duration duration = std::chrono::seconds(30);  // of the measured part
  int64_t max_requests = 0;                      // measured requests; 0: no limit but the time
  Duration retry_pause = std::chrono::milliseconds(100);  // closed loop: after one that failed
};

// What a server says of itself.
struct ServerLimits {
  std::string model = {};
  int32_t context_tokens = 0;  // of prompt and answer; 0: not known
  uint32_t vocab_size = 0;     // 0: not known
  std::vector<uint32_t> end_tokens = {};
};

// A request before it is sent. `number` counts the tenant's requests: with the plan's seed it says
// what the request is, whatever the other tenants do.
struct PlannedRequest {
  int32_t tenant = 0;
  uint64_t number = 0;
  Duration at{};
  int32_t prefix_tokens = 0;
  int32_t own_tokens = 0;
  int32_t output_tokens = 0;
  bool measured = false;
};

// Whether the plan's usual requests fit the server's context.
absl::Status CheckFits(const LoadPlan& plan, const ServerLimits& limits);

// The arrivals of all tenants in the order of time. In an open loop they depend on nothing that the
// server does; in a closed one each follows a Release. Not thread-safe.
class LoadSchedule {
 public:
  LoadSchedule(const LoadPlan& plan, int32_t context_tokens);

  // When the next request is due; nothing while only a Release can bring one, or at the end.
  std::optional<Duration> NextAt() const;
  // The number of requests that was asked for has been taken.
  bool exhausted() const { return plan_.max_requests > 0 && measured_ >= plan_.max_requests; }
  // From the start until when requests may be due.
  Duration length() const { return plan_.warmup + plan_.duration; }
  // Only where NextAt gave a time.
  PlannedRequest Take();
  // A closed-loop tenant's stream is free again at `at`; `pause` if its request was turned down.
  // Of no effect on an open loop.
  void Release(int32_t tenant, Duration at, bool pause);

 private:
  struct Arrival {
    Duration at;
    int32_t tenant;
    bool operator>(const Arrival& other) const {
      return at != other.at ? at > other.at : tenant > other.tenant;
    }
  };
  struct Tenant {
    TenantSpec spec;
    IntervalLaw intervals;
    std::mt19937_64 lengths;
    double last_at = 0;  // seconds
    uint64_t taken = 0;
  };

  void PushNext(int32_t tenant);
  void Push(int32_t tenant, Duration at);

  LoadPlan plan_;
  int32_t context_tokens_;
  std::vector<Tenant> tenants_;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> pending_;
  int64_t measured_ = 0;
};

}  // namespace quire::cli
