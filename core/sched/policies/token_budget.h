#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quire {

// What a running sequence could compute in the next step.
struct TokenDemand {
  int32_t runnable_tokens = 0;  // 0: nothing this step
  bool prefill = false;
  int32_t scored_tokens = 0;  // the first so many of them are scored, each in a logit row
};

// What one step may hold.
struct StepBudget {
  int32_t tokens = 0;
  int32_t scored_tokens = 0;
};

// Splits one step's budget: every decode row gets its token first, in order, then prefill chunks
// take what is left, in order (Sarathi-Serve; Agrawal et al., OSDI 2024). A chunk whose tokens are
// scored ends where the rows for them do; those behind it may still take tokens. Pure. Returns the
// tokens for each demand, 0 for none.
std::vector<int32_t> SplitTokenBudget(std::span<const TokenDemand> demands, StepBudget budget);

}  // namespace quire
