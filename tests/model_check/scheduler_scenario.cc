#include "tests/model_check/scheduler_scenario.h"

namespace quire::testing {

SchedulerScenario& SchedulerScenario::Add(uint32_t tenant, std::string_view letters,
                                          int32_t prompt_tokens, int32_t max_tokens,
                                          int32_t submits) {
  SchedulerRequest request;
  request.tenant = TenantId(tenant);
  request.prompt_tokens = prompt_tokens;
  request.max_tokens = max_tokens;
  request.submits = submits;
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    const char letter = letters.at(static_cast<size_t>(i / kBlockTokens));
    request.tokens.push_back(letter * kBlockTokens + i % kBlockTokens);
  }
  const auto number = static_cast<TokenId>(requests.size());
  for (int32_t i = 0; i < max_tokens; ++i) request.tokens.push_back(100000 * (number + 1) + i);
  requests.push_back(std::move(request));
  return *this;
}

}  // namespace quire::testing
