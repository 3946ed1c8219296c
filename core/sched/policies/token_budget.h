#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quire {

// What a running sequence could compute in the next step.
struct TokenDemand {
  int32_t runnable_tokens = 0;  // 0: nothing this step
  bool prefill = false;
};

// Splits one step's token budget: every decode row gets its token first, in order, then prefill
// chunks take what is left, in order (Sarathi-Serve; Agrawal et al., OSDI 2024). Pure. Returns the
// tokens for each demand, 0 for none.
std::vector<int32_t> SplitTokenBudget(std::span<const TokenDemand> demands, int32_t budget);

}  // namespace quire
