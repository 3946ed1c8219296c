#include "core/sample/logit_edits.h"

#include <algorithm>
#include <limits>

namespace quire {
namespace {

using kernels::LogitEdit;

constexpr float kBan = -std::numeric_limits<float>::infinity();

bool EndsWith(std::span<const TokenId> tokens, std::span<const TokenId> end) {
  return end.size() <= tokens.size() && std::ranges::equal(tokens.last(end.size()), end);
}

void AppendBadWord(std::span<const TokenId> word, const DrawState& state,
                   std::vector<LogitEdit>* edits) {
  LogitEdit edit{.token = word.back(), .bias = kBan};
  std::span<const TokenId> before = word.first(word.size() - 1);
  if (state.last_on_device && !before.empty()) {
    edit.after = before.back();
    before = before.first(before.size() - 1);
  }
  if (EndsWith(state.tokens, before)) edits->push_back(edit);
}

}  // namespace

void AppendLogitEdits(const SamplingParams& params, std::span<const TokenId> eos,
                      const DrawState& state, std::vector<LogitEdit>* edits) {
  for (const LogitBias& entry : params.logit_bias) {
    const float bias = entry.bias == kBanningBias ? kBan : entry.bias;
    edits->push_back({.token = entry.token, .bias = bias});
  }
  if (state.generated < params.min_tokens) {
    const auto ban = [edits](TokenId id) { edits->push_back({.token = id, .bias = kBan}); };
    if (!params.ignore_eos) std::ranges::for_each(eos, ban);
    std::ranges::for_each(params.stop_token_ids, ban);
  }
  for (const auto& word : params.bad_words) AppendBadWord(word, state, edits);
}

int32_t MaxLogitEdits(const SamplingLimits& limits, size_t eos) {
  return limits.max_logit_biases + static_cast<int32_t>(eos) + limits.max_stop_token_ids +
         limits.max_bad_words;
}

}  // namespace quire
