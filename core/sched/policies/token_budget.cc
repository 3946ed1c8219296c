#include "core/sched/policies/token_budget.h"

#include <algorithm>
#include <limits>
#include <queue>

namespace quire {
namespace {

// A party's turn to take its next chunk.
struct Turn {
  double counter = 0;
  uint64_t since = 0;
  size_t party = 0;

  // For a queue whose top is whose turn it is.
  friend bool operator<(const Turn& a, const Turn& b) {
    if (a.counter != b.counter) return a.counter > b.counter;
    return a.since < b.since;
  }
};

class Split {
 public:
  Split(std::span<const TokenDemand> demands, std::span<const TokenParty> parties,
        StepBudget budget)
      : demands_(demands), parties_(parties), budget_(budget), grants_(demands.size(), 0) {}

  std::vector<int32_t> Run() && {
    std::vector<std::vector<size_t>> chunks(parties_.size());  // by party, the last one first
    for (size_t i = demands_.size(); i-- > 0;) {
      const TokenDemand& demand = demands_[i];
      if (demand.prefill && demand.runnable_tokens > 0) {
        chunks[static_cast<size_t>(demand.party)].push_back(i);
      }
    }
    for (size_t i = 0; i < demands_.size(); ++i) {
      if (demands_[i].prefill) continue;
      if (Grant(i, budget_.tokens) == 0 || budget_.prefill_beside_decode == 0) continue;
      prefill_ = budget_.prefill_beside_decode;
      longest_end_ = 2 * prefill_;
    }
    std::priority_queue<Turn> turns;
    for (size_t p = 0; p < parties_.size(); ++p) {
      if (!chunks[p].empty()) turns.push({parties_[p].counter, parties_[p].since, p});
    }
    while (budget_.tokens > 0 && prefill_ > 0 && !turns.empty()) {
      Turn turn = turns.top();
      turns.pop();
      std::vector<size_t>& own = chunks[turn.party];
      turn.counter += GrantChunk(own.back()) * parties_[turn.party].cost_per_token;
      own.pop_back();
      if (!own.empty()) turns.push(turn);
    }
    return std::move(grants_);
  }

 private:
  int32_t GrantChunk(size_t i) {
    const bool ends = demands_[i].runnable_tokens <= std::min(budget_.tokens, longest_end_);
    const int32_t tokens = Grant(i, ends ? budget_.tokens : std::min(budget_.tokens, prefill_));
    prefill_ -= tokens;
    return tokens;
  }

  int32_t Grant(size_t i, int32_t at_most) {
    const TokenDemand& demand = demands_[i];
    int32_t tokens = std::min(demand.runnable_tokens, at_most);
    if (demand.scored_tokens > budget_.scored_tokens) {
      tokens = std::min(tokens, budget_.scored_tokens);
    }
    budget_.tokens -= tokens;
    budget_.scored_tokens -= std::min(tokens, demand.scored_tokens);
    return grants_[i] = tokens;
  }

  const std::span<const TokenDemand> demands_;
  const std::span<const TokenParty> parties_;
  StepBudget budget_;
  int32_t prefill_ = std::numeric_limits<int32_t>::max();  // left of it
  int32_t longest_end_ = std::numeric_limits<int32_t>::max();
  std::vector<int32_t> grants_;
};

}  // namespace

std::vector<int32_t> SplitTokenBudget(std::span<const TokenDemand> demands,
                                      std::span<const TokenParty> parties, StepBudget budget) {
  return Split(demands, parties, budget).Run();
}

}  // namespace quire
