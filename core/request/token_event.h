#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/request/request_status.h"

namespace quire {

// The end of a request. `status` is not OK for kError, kDeadline, kCancelled and kShutdown.
struct FinishInfo {
  FinishReason reason = FinishReason::kStop;
  absl::Status status;
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;  // prompt tokens whose KV was found, not computed
  int32_t generated_tokens = 0;
  uint32_t trim_bytes = 0;  // from the start of a matched stop string to the end of the text
  Duration queue_time{};    // arrival to first scheduled step
  Duration time_to_first_token{};
};

// What leaves the engine for one request in one step: a token, the end, or both.
struct TokenEvent {
  RequestId request;
  TokenId token = -1;  // -1: no token
  float logprob = 0;
  // The last bytes of the text so far that may be the start of a stop string: not to be shown
  // until the next event decides.
  uint32_t hold_back_bytes = 0;
  std::unique_ptr<FinishInfo> finish{};  // set on the last event of a request, exactly once
};

}  // namespace quire
