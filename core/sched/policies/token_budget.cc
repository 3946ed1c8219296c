#include "core/sched/policies/token_budget.h"

#include <algorithm>

namespace quire {

std::vector<int32_t> SplitTokenBudget(std::span<const TokenDemand> demands, StepBudget budget) {
  std::vector<int32_t> grants(demands.size(), 0);
  for (bool prefill : {false, true}) {
    for (size_t i = 0; i < demands.size() && budget.tokens > 0; ++i) {
      const TokenDemand& demand = demands[i];
      if (demand.prefill != prefill) continue;
      grants[i] = std::min(demand.runnable_tokens, budget.tokens);
      if (demand.scored_tokens > budget.scored_tokens) {
        grants[i] = std::min(grants[i], budget.scored_tokens);
      }
      budget.tokens -= grants[i];
      budget.scored_tokens -= std::min(grants[i], demand.scored_tokens);
    }
  }
  return grants;
}

}  // namespace quire
