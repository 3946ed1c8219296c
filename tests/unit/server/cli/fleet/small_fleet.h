#pragma once

#include <memory>
#include <string>
#include <utility>

#include "server/cli/fleet/fleet.h"

// A fleet that tests can reckon with: 16 tokens a block, steps of round times.

namespace quire::cli {

inline KvLayout SmallLayout() {
  KvLayout layout;
  layout.block_tokens = 16;
  layout.layers = {{.kv_groups = 1, .head_dim = 16}};
  return layout;
}

inline ReplicaOptions SmallReplica(int64_t kv_tokens = 16384) {
  ReplicaOptions options;
  options.engine.max_step_tokens = 64;
  options.engine.max_running_requests = 8;
  options.engine.max_context_tokens = 2048;
  options.layouts = {SmallLayout()};
  options.kv_bytes = kv_tokens / 16 * static_cast<int64_t>(SmallLayout().BlockBytes());
  options.tenants.emplace_back().name = "default";
  options.times = {.step = 5e-3, .token = 100e-6, .decode_row = 100e-6, .decode_kv_token = 1e-6};
  return options;
}

inline FleetOptions SmallFleet(size_t replicas, std::vector<TenantSpec> tenants) {
  FleetOptions options;
  options.replica = SmallReplica();
  options.replica.tenants.clear();
  for (const TenantSpec& tenant : tenants) {
    TenantPolicy& policy = options.replica.tenants.emplace_back();
    policy.name = tenant.name;
    policy.weight = tenant.weight.value_or(1);
  }
  options.replicas = replicas;
  options.load.tenants = std::move(tenants);
  options.load.seed = 1;
  options.load.duration = std::chrono::seconds(20);
  return options;
}

inline FleetResult RunFleet(const FleetOptions& options, const std::string& policy) {
  const PromptSource prompts(options.load.seed, 1000, {}, /*shared_prefix_per_tenant=*/true);
  const auto router = MakeRouter(policy, RouterOptions()).value();
  return Fleet(options, &prompts, router.get()).Run(nullptr);
}

}  // namespace quire::cli
