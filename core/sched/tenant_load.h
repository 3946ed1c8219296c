#pragma once

#include <cstdint>

namespace quire {

// What the scheduler knows of a tenant. Plain counters, of which those behind prefix_bytes only
// grow, but for costs that are refunded.
struct TenantLoad {
  int64_t waiting = 0;
  int64_t waiting_tokens = 0;
  int64_t running = 0;
  int64_t kv_bytes = 0;      // promised; what is shared counts in full
  int64_t prefix_bytes = 0;  // computed for it, used by nobody now and kept
  double kv_byte_seconds = 0;
  double cost = 0;         // computed for it, in tokens: see kPrefillTokenCost
  double cost_of_due = 0;  // while it had work that waited for nothing but its turn
  double due = 0;          // its share of all that was computed in that time
  uint64_t loans = 0;      // sequences that began to borrow KV that others' reserves may want back
  uint64_t ahead = 0;      // sequences started on its reserve while others, whose turn it was,
                           // waited for KV
  uint64_t preempted = 0;
  uint64_t swapped_out = 0;          // of those, how many kept their KV in host memory
  uint64_t prefix_blocks_lost = 0;   // kept ones that were given up for other tenants
  uint64_t prefix_blocks_taken = 0;  // of other tenants, that were given up for it
  uint64_t recomputed_tokens = 0;
};

// Of all tenants: waiting sequences by what each waits for.
struct WaitCounts {
  int64_t turn = 0;    // a place or KV, or somebody before it does
  int64_t tenant = 0;  // its tenant's own limits or rate
  int64_t prefix = 0;  // another, which computes what it begins with
  int64_t reader = 0;  // its client, which has not taken what there is
};

}  // namespace quire
