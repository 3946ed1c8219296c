#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/ids.h"
#include "core/request/tenant_policy.h"
#include "core/sched/scheduler.h"
#include "tests/model_check/kv_scenario.h"

namespace quire::testing {

inline constexpr int64_t kBlockBytes = 256;  // of SmallLayout()

// A request that may be submitted some times, never twice at once.
struct SchedulerRequest {
  TenantId tenant;
  std::vector<TokenId> tokens;  // prompt and answer
  int32_t prompt_tokens = 0;
  int32_t max_tokens = 0;
  int32_t priority = 0;
  int32_t submits = 1;

  int32_t max_kv_tokens() const { return prompt_tokens + max_tokens - 1; }
};

// What a model check of the scheduler explores: requests that are submitted and cancelled between
// any two steps of the engine, over a handful of blocks.
struct SchedulerScenario {
  std::string name;
  SchedulerOptions options;
  TenantTable tenants;
  int32_t blocks = 3;
  size_t depth = 0;  // in-flight steps of the runner
  bool prefix_cache = false;
  uint32_t events = 0;  // that must be met, see SchedulerWorld::Event
  std::vector<SchedulerRequest> requests;

  int64_t ReserveOf(TenantId t) const { return tenants[t.value()].kv_reserved_bytes / kBlockBytes; }
  int64_t LimitOf(TenantId t) const { return tenants[t.value()].kv_limit_bytes / kBlockBytes; }
  int64_t FloorOf(TenantId t) const { return tenants[t.value()].prefix_floor_bytes / kBlockBytes; }

  // Adds a request. `blocks`: a letter for each block of the prompt, equal letters for equal
  // tokens.
  SchedulerScenario& Add(uint32_t tenant, std::string_view letters, int32_t prompt_tokens,
                         int32_t max_tokens, int32_t submits = 1);
};

inline void PrintTo(const SchedulerScenario& scenario, std::ostream* os) { *os << scenario.name; }

}  // namespace quire::testing
