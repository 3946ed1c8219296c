#pragma once

#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/request/sampling_params.h"

namespace quire {

// A validated request on its way to the engine. Immutable once submitted.
struct Request {
  RequestId id;  // from Engine::NextRequestId()
  TenantId tenant;
  int32_t priority = 0;         // higher is sooner, within the tenant; at most its policy's
  std::vector<TokenId> prompt;  // at least one id, each inside the vocabulary
  std::string cache_salt;       // only requests with the same one share KV that was computed
  SamplingParams sampling;
  TimePoint arrival{};  // when the front end received it
  TimePoint deadline = kNoDeadline;
};

}  // namespace quire
