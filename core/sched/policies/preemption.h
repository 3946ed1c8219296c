#pragma once

#include <cstdint>

namespace quire {

// What it costs to give up a sequence's KV and to have it again, in seconds of the device; both
// are measured. 0: not known.
struct PreemptionCosts {
  double swap_seconds_per_byte = 0;        // to host memory and back
  double recompute_seconds_per_token = 0;  // of prefill
};

// For a sequence of so many computed tokens, which hold so many bytes of KV. Swapping wins where
// the link to the host is fast for what the model computes: with few KV groups a token is a few
// bytes, but as much to compute. Pure.
inline bool SwapIsCheaper(int64_t tokens, int64_t bytes, const PreemptionCosts& costs) {
  return costs.swap_seconds_per_byte > 0 &&
         static_cast<double>(bytes) * costs.swap_seconds_per_byte <
             static_cast<double>(tokens) * costs.recompute_seconds_per_token;
}

}  // namespace quire
