#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/engine/engine.h"
#include "core/kv/kv_cache_manager.h"
#include "core/kv/slab_arena.h"
#include "server/cli/fleet/replica_state.h"
#include "server/cli/fleet/simulated_runner.h"
#include "server/cli/fleet/virtual_clock.h"
#include "server/cli/load/load_results.h"

namespace quire::cli {

// What all replicas of a fleet have in common.
struct ReplicaOptions {
  EngineOptions engine;
  KvLayouts layouts;
  int64_t kv_bytes = 0;
  bool prefix_cache = true;
  TenantTable tenants;
  StepTimeModel times;
  Duration overhead{};  // of each step, outside the model
  Duration one_way{};   // between a client and the engine
};

// What a replica has done since it began.
struct ReplicaCounts {
  uint64_t steps = 0;
  uint64_t preempted = 0;
  uint64_t prefix_queried_tokens = 0;  // of prompts that were looked up
  uint64_t prefix_hit_tokens = 0;      // of those, found
  double step_seconds = 0;             // of all steps
};

// The server's engine, scheduler and block manager on a clock of their own, with a runner that
// computes nothing. One thread.
class Replica final : private OutputSink {
 public:
  // `options` must outlive it.
  Replica(const ReplicaOptions& options, TimePoint now);
  ~Replica() override;

  // A request that gets here `now`, which may be while a step runs: the next one sees it. It is
  // reported by TakeEnded, unless it is refused.
  absl::Status Submit(Request request, RequestRecord record, TimePoint now);
  // Runs the step that begins `now`, no earlier than the last one ended, and returns when it ends;
  // nullopt where there is nothing to do. Requests that end with it are to be taken.
  std::optional<TimePoint> Step(TimePoint now);
  // Ends all requests now.
  void Abort();
  std::vector<RequestRecord> TakeEnded() { return std::exchange(ended_, {}); }

  // As of the end of the last step, and what was submitted since.
  void Describe(ReplicaState* state) const;
  double KvUse() const;  // share of the KV cache that requests hold
  ReplicaCounts counts() const;
  int64_t live_requests() const { return engine_.live_requests(); }

 private:
  void Deliver(std::vector<TokenEvent> events) override;

  const ReplicaOptions& options_;
  const int64_t block_bytes_;
  VirtualClock clock_;
  SimulatedRunner runner_;
  SlabArena arena_;
  KvCacheManager kv_;
  Engine engine_;
  absl::flat_hash_map<RequestId, RequestRecord> live_;
  std::vector<RequestRecord> ended_;
  std::vector<int64_t> unseen_tokens_;  // by tenant: of prompts submitted since the last step began
  ReplicaCounts counts_;
};

}  // namespace quire::cli
