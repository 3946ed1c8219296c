#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/ids.h"
#include "core/request/request_status.h"
#include "core/request/sampling_params.h"
#include "core/sample/stop_matcher.h"

namespace quire {

// What ends a sequence of a given model, apart from the request's own wishes.
struct StopRules {
  std::vector<TokenId> eos_token_ids;
  // Bytes that a token adds to the text: none for special tokens. Thread-safe.
  std::function<std::string_view(TokenId)> token_bytes;
  // The same where special tokens are shown; unset: there are none.
  std::function<std::string_view(TokenId)> shown_token_bytes{};
};

// Decides after each token of one sequence whether it has ended. One thread.
class StopChecker {
 public:
  // `rules` and `params` must outlive the checker.
  StopChecker(const StopRules* rules, const SamplingParams* params);

  // Takes the `generated`-th token (from 1). nullopt: go on. An end token and a stop id add no
  // text of their own and a stop string is cut off, see trim_bytes(), unless the request includes
  // them. Before min_tokens nothing stops.
  std::optional<FinishReason> Check(TokenId token, int32_t generated);

  uint32_t trim_bytes() const { return trim_bytes_; }
  uint32_t hold_back_bytes() const { return params_->include_stop ? 0 : matcher_.partial_bytes(); }

 private:
  std::string_view Text(TokenId token) const;
  bool IsStopToken(TokenId token) const;

  const StopRules* rules_;
  const SamplingParams* params_;
  StopMatcher matcher_;
  uint32_t trim_bytes_ = 0;
};

}  // namespace quire
