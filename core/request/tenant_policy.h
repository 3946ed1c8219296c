#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace quire {

// What one tenant is owed and what it may have at most. Plain data; a limit of 0 is none. All
// amounts are of this process: replicas know nothing of each other.
struct TenantPolicy {
  std::string name;               // for messages and metrics
  double weight = 1;              // its share of the computing beside others that want some: > 0
  int32_t max_priority = 0;       // requests that ask for more get this; at most 10000
  int32_t max_running = 0;        // sequences in a step
  int32_t max_queued = 0;         // requests that wait
  int64_t max_queued_tokens = 0;  // prompt tokens of those together
  double tokens_per_second = 0;   // computed tokens; it waits when it is ahead of this rate
  double burst_tokens = 0;        // what it may be ahead by; 0: one second's
  // KV that is its own whenever it wants it, and the most it may hold.
  int64_t kv_reserved_bytes = 0;
  int64_t kv_limit_bytes = 0;
  // Of computed prefixes that nobody uses at the moment: what others cannot push out, and the most
  // that is kept.
  int64_t prefix_floor_bytes = 0;
  int64_t prefix_ceiling_bytes = 0;
  // Tenants of the same group serve each other with prefixes; empty: it shares with nobody.
  std::string sharing_group;

  friend bool operator==(const TenantPolicy&, const TenantPolicy&) = default;
};

// By TenantId. A tenant keeps its place as long as the process lives.
using TenantTable = std::vector<TenantPolicy>;

// InvalidArgument names the tenant, the value and what it must be.
absl::Status ValidateTenants(const TenantTable& tenants);

// What is set aside for valid tenants must fit a KV cache of so many bytes.
absl::Status CheckReserves(const TenantTable& tenants, int64_t kv_bytes);

}  // namespace quire
