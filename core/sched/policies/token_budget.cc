#include "core/sched/policies/token_budget.h"

#include <algorithm>

namespace quire {

std::vector<int32_t> SplitTokenBudget(std::span<const TokenDemand> demands, int32_t budget) {
  std::vector<int32_t> grants(demands.size(), 0);
  for (bool prefill : {false, true}) {
    for (size_t i = 0; i < demands.size() && budget > 0; ++i) {
      if (demands[i].prefill != prefill) continue;
      grants[i] = std::min(demands[i].runnable_tokens, budget);
      budget -= grants[i];
    }
  }
  return grants;
}

}  // namespace quire
