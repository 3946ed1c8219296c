#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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
  uint32_t trim_bytes = 0;  // what the end of the text loses: a stop string and what follows it
  Duration queue_time{};    // arrival to first scheduled step
  Duration time_to_first_token{};
};

// A token that could have stood in another's place.
struct TokenAlternative {
  TokenId token = 0;
  float logprob = 0;
  bool operator==(const TokenAlternative&) const = default;
};

// How likely the model finds some consecutive tokens of the prompt.
struct PromptScores {
  int32_t first = 1;                                        // place of the first in the prompt
  std::vector<float> logprobs;                              // one a token
  std::vector<std::vector<TokenAlternative>> alternatives;  // one list a token, or none
};

// What leaves the engine for one request in one step: a token, scores of its prompt, or the end,
// which may come with a token. Scores come before the first token, in order, each place once.
struct TokenEvent {
  RequestId request;
  TokenId token = -1;  // -1: no token
  float logprob = 0;
  // The last bytes of the text so far that may be the start of a stop string: not to be shown
  // until the next event decides. 0 on the last event.
  uint32_t hold_back_bytes = 0;
  std::vector<TokenAlternative> alternatives{};  // the likeliest first, where asked for
  std::unique_ptr<PromptScores> prompt_scores{};
  std::unique_ptr<FinishInfo> finish{};  // set on the last event of a request, exactly once
};

}  // namespace quire
