#include "kernels/cpu/top_logits.h"

#include <algorithm>
#include <limits>

namespace quire::kernels {

void TopLogits(const TierKernels& kernels, const float* logits, int64_t vocab, double log_sum,
               int32_t count, TokenLogprob* out) {
  if (count == 0) return;
  // Sorted by falling logit all along. Ids come in rising order, so an equal one never gets ahead.
  std::fill_n(out, count, TokenLogprob{-1, -std::numeric_limits<float>::infinity()});
  TokenLogprob& least = out[count - 1];
  for (int64_t begin = 0; begin < vocab; begin += kVocabBlock) {
    const int64_t end = std::min(begin + kVocabBlock, vocab);
    if (kernels.logits_range(logits + begin, end - begin).max <= least.logprob) continue;
    for (int64_t id = begin; id < end; ++id) {
      if (!(logits[id] > least.logprob)) continue;
      TokenLogprob* place = &least;
      for (; place > out && place[-1].logprob < logits[id]; --place) place[0] = place[-1];
      *place = {static_cast<int32_t>(id), logits[id]};
    }
  }
  for (int32_t i = 0; i < count; ++i) {
    out[i].logprob = out[i].token_id < 0 ? 0 : static_cast<float>(out[i].logprob - log_sum);
  }
}

}  // namespace quire::kernels
