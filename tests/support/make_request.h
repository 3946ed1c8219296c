#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/engine/engine.h"

namespace quire::testing {

// A request that arrives now, with an id of the engine's.
inline Request MakeRequest(Engine* engine, const Clock& clock, std::vector<TokenId> prompt,
                           int32_t max_tokens) {
  Request request;
  request.id = engine->NextRequestId();
  request.prompt = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  request.arrival = clock.Now();
  return request;
}

}  // namespace quire::testing
