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
  int32_t party = 0;          // whose sequence it is
};

// Somebody whose sequences are in prefill: see FairShare.
struct TokenParty {
  double counter = 0;
  uint64_t since = 0;
  double cost_per_token = 1;  // what a token of prefill adds to the counter
};

// What one step may hold.
struct StepBudget {
  int32_t tokens = 0;
  int32_t scored_tokens = 0;
  // Of prefill, where there are decode rows, which wait for it; 0: as much as there is room for.
  int32_t prefill_beside_decode = 0;
};

// Splits one step's budget: every decode row gets its token first, then prefill chunks take what is
// left (Sarathi-Serve; Agrawal et al., OSDI 2024). The party with the lowest counter takes its next
// chunk first, as large as it can be, and of equal ones the one with the highest `since`; within a
// party it goes in order. A chunk whose tokens are scored ends where the rows for them do; those
// behind it may still take tokens. Beside decode rows no chunk begins behind
// `prefill_beside_decode` tokens of prefill, and one ends there unless it is the last of its prompt
// and at most twice as long: long prompts stretch steps less, short ones are not torn apart. Pure.
// Returns the tokens for each demand, 0 for none.
std::vector<int32_t> SplitTokenBudget(std::span<const TokenDemand> demands,
                                      std::span<const TokenParty> parties, StepBudget budget);

}  // namespace quire
