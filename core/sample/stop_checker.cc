#include "core/sample/stop_checker.h"

#include <algorithm>

namespace quire {
namespace {

bool Contains(const std::vector<TokenId>& ids, TokenId token) {
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

}  // namespace

StopChecker::StopChecker(const StopRules* rules, const SamplingParams* params)
    : rules_(rules), params_(params), matcher_(params->stop) {}

bool StopChecker::IsStopToken(TokenId token) const {
  return (!params_->ignore_eos && Contains(rules_->eos_token_ids, token)) ||
         Contains(params_->stop_token_ids, token);
}

std::string_view StopChecker::Text(TokenId token) const {
  const bool show_all = !params_->skip_special_tokens && rules_->shown_token_bytes;
  return show_all ? rules_->shown_token_bytes(token) : rules_->token_bytes(token);
}

std::optional<FinishReason> StopChecker::Check(TokenId token, int32_t generated) {
  const std::string_view bytes = Text(token);
  if (generated < params_->min_tokens) {
    matcher_.Pass(bytes);
    return std::nullopt;
  }
  if (IsStopToken(token)) {
    trim_bytes_ = params_->include_stop ? 0 : static_cast<uint32_t>(bytes.size());
    return FinishReason::kStop;
  }
  if (matcher_.Feed(bytes)) {
    trim_bytes_ = params_->include_stop ? matcher_.rest_bytes() : matcher_.trim_bytes();
    return FinishReason::kStop;
  }
  if (generated >= params_->max_tokens) return FinishReason::kLength;
  return std::nullopt;
}

}  // namespace quire
