#include "tests/sim/random_plan.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"

namespace quire::testing {

std::vector<int32_t> RandomPlan::Windows() {
  const int32_t window = Uniform(2, 100);
  switch (Uniform(0, 3)) {
    case 0:
      return {window};
    case 1:
      return {0, window};
    default:
      return {0};
  }
}

SimulationPlan RandomPlan::MakePlan() {
  SimulationPlan plan;
  EngineHarness::Options& o = plan.options = EngineHarness::DefaultOptions();
  o.model.depth = Uniform(0, 1);
  o.model.block_tokens = 16 * (1 << Uniform(0, 2));
  o.model.eos = 7;
  o.model.eos_period = static_cast<uint32_t>(Chance(0.5) ? Uniform(2, 60) : 1000);
  o.model.nan_period = Chance(0.3) ? 300 : 0;
  if (Chance(0.1)) o.model.fail_complete = Uniform(0, 200);
  if (Chance(0.1)) o.model.fail_launch = Uniform(0, 200);
  o.engine.max_running_requests = Uniform(1, 12);
  o.engine.max_step_tokens = o.engine.max_running_requests + Uniform(0, 80);
  o.engine.max_scored_tokens = Uniform(1, 40);
  if (Chance(0.3)) o.engine.max_prefill_beside_decode = Uniform(1, 40);
  o.engine.max_context_tokens = Uniform(40, 400);
  o.engine.max_queued_requests = Uniform(1, 30);
  o.engine.max_queued_tokens = Uniform(100, 3000);
  o.model.windows = Windows();
  o.slab_blocks = static_cast<size_t>(Uniform(1, 4));
  // A few requests' worth at a time, or anything.
  const auto slab_tokens = static_cast<int>(o.slab_blocks) * o.model.block_tokens;
  o.kv_slabs = Chance(0.7) ? 1 + Uniform(200, 900) / slab_tokens : Uniform(2, 40);
  o.prefix_cache = Chance(0.7);
  o.stop_rules.eos_token_ids = {o.model.eos};
  o.engine.overcommit = Chance(0.4);
  o.engine.max_preemptions = Uniform(0, 4);
  o.engine.ageing = std::chrono::milliseconds(Uniform(1, 100));
  o.engine.max_prefix_wait_steps = Chance(0.3) ? 0 : Uniform(1, 20);
  o.engine.pause_grace = std::chrono::milliseconds(Uniform(0, 50));
  const bool swaps = Chance(0.3);
  if (swaps) AddSwapping(&o);
  const int64_t kv_bytes = static_cast<int64_t>(EngineHarness::ArenaBytes(o));
  plan.tenants.resize(static_cast<size_t>(Chance(0.3) ? 1 : Uniform(2, 5)));
  for (size_t i = 0; i < plan.tenants.size(); ++i) {
    plan.tenants[i] = Tenant(i, kv_bytes / static_cast<int64_t>(plan.tenants.size()));
  }
  if (Chance(0.3)) plan.reload_share = 0.02;
  plan.requests = Uniform(20, 80);
  plan.longest_prompt = Chance(0.6) ? 150 : 40;
  plan.longest_answer = !swaps && Chance(0.6) ? 60 : 250;
  plan.cancel_share = Chance(0.5) ? 0.02 : 0;
  plan.pause_share = Chance(0.4) ? 0.01 : 0;
  plan.deadline_share = Chance(0.3) ? 0.2 : 0;
  if (Chance(0.1)) plan.drain_step = Uniform(0, 200);
  if (Chance(0.1)) plan.abort_step = Uniform(0, 200);
  return plan;
}

// In little memory, so that somebody is preempted.
void RandomPlan::AddSwapping(EngineHarness::Options* o) {
  o->model.depth = 1;  // only devices that run beside the host swap
  o->engine.overcommit = Chance(0.8);
  o->engine.max_preemptions = Uniform(1, 4);
  o->engine.max_context_tokens = Uniform(100, 400);
  o->engine.max_queued_requests = Uniform(10, 30);
  o->model.eos_period = 1000;
  o->engine.max_running_requests = Uniform(4, 12);
  o->engine.max_step_tokens = o->engine.max_running_requests + Uniform(0, 80);
  o->kv_slabs = 1 + Uniform(250, 700) / (static_cast<int>(o->slab_blocks) * o->model.block_tokens);
  o->swap_seed = (*rng_)();
  // At times too little, and of bytes and tokens now these are dearer, now those.
  o->swap_bytes = EngineHarness::SlabBytes(*o) * static_cast<size_t>(Uniform(1, 30));
  o->swap_seconds_per_byte = Chance(0.7) ? 1e-12 : 1e-7;
}

TenantPolicy RandomPlan::Tenant(size_t index, int64_t most_reserved) {
  TenantPolicy tenant;
  tenant.name = absl::StrCat("tenant ", index);
  tenant.weight = Uniform(1, 4);
  tenant.max_priority = Uniform(0, 2);
  if (Chance(0.3)) tenant.max_running = Uniform(1, 4);
  if (Chance(0.2)) tenant.max_queued = Uniform(1, 10);
  if (Chance(0.2)) tenant.max_queued_tokens = Uniform(50, 1000);
  if (Chance(0.2)) {
    tenant.tokens_per_second = Uniform(300, 10000);
    tenant.burst_tokens = Uniform(1, 200);
  }
  if (Chance(0.5)) {
    tenant.kv_reserved_bytes = static_cast<int64_t>(Uniform(0, 100)) * most_reserved / 100;
  }
  if (Chance(0.3)) {
    tenant.kv_limit_bytes =
        tenant.kv_reserved_bytes + static_cast<int64_t>(Uniform(1, 100)) * most_reserved / 50;
  }
  if (Chance(0.3)) {
    const int64_t left = most_reserved - tenant.kv_reserved_bytes;
    tenant.prefix_floor_bytes = static_cast<int64_t>(Uniform(0, 100)) * left / 100;
  }
  if (Chance(0.2)) {
    tenant.prefix_ceiling_bytes =
        tenant.prefix_floor_bytes + static_cast<int64_t>(Uniform(1, 100)) * most_reserved / 100;
  }
  // Not to change with a reload, so that who may find whose KV stays the same.
  if (index % 3 == 1) tenant.sharing_group = "a group";
  return tenant;
}

}  // namespace quire::testing
