#include "tests/support/fake_sampling.h"

#include <algorithm>

namespace quire::testing {
namespace {

bool Contains(std::span<const TokenId> ids, TokenId id) {
  return std::ranges::find(ids, id) != ids.end();
}

// Whether `token` would complete one of the bad words.
bool CompletesBadWord(const SamplingParams& params, std::span<const TokenId> prefix,
                      TokenId token) {
  return std::ranges::any_of(params.bad_words, [&](const std::vector<TokenId>& word) {
    const size_t before = word.size() - 1;
    return word.back() == token && before <= prefix.size() &&
           std::equal(word.begin(), word.end() - 1, prefix.end() - static_cast<int64_t>(before));
  });
}

bool IsBiasedAway(const SamplingParams& params, TokenId token) {
  return std::ranges::any_of(params.logit_bias, [token](const LogitBias& entry) {
    return entry.token == token && entry.bias == -100;
  });
}

}  // namespace

uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdu;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

uint64_t Extend(uint64_t prefix_hash, TokenId token) {
  return Mix(prefix_hash * 31 + static_cast<uint64_t>(token) + 1);
}

kernels::SampledToken DrawToken(const FakeModelOptions& model, uint64_t hash,
                                std::span<const TokenId> allowed,
                                const std::function<bool(TokenId)>& excluded) {
  const uint64_t draw = Mix(hash ^ 0x5bd1e995);
  if (model.nan_period > 0 && draw % model.nan_period == 0) return {};
  for (uint64_t attempt = 0; attempt < 1000; ++attempt) {
    const uint64_t d = attempt == 0 ? draw : Mix(draw + attempt);
    auto id = static_cast<TokenId>((d >> 32) % static_cast<uint64_t>(model.vocab));
    if (model.eos >= 0 && (d >> 20) % model.eos_period == 0) id = model.eos;
    if (!allowed.empty()) id = allowed[(d >> 32) % allowed.size()];
    if (!excluded(id)) return {id, -static_cast<float>(d % 1000) / 100.0f};
  }
  return {kernels::kNothingAllowed, 0};
}

float ScoreOf(uint64_t prefix_hash, TokenId target) {
  return -static_cast<float>(Extend(prefix_hash, target) % 1000) / 100.0f;
}

std::vector<float> ExpectedScores(std::span<const TokenId> prompt) {
  std::vector<float> scores;
  uint64_t hash = kEmptyPrefix;
  for (size_t i = 0; i + 1 < prompt.size(); ++i) {
    hash = Extend(hash, prompt[i]);
    scores.push_back(ScoreOf(hash, prompt[i + 1]));
  }
  return scores;
}

kernels::TokenLogprob AlternativeAt(const FakeModelOptions& model, uint64_t prefix_hash,
                                    int32_t n) {
  const uint64_t hash = Mix(prefix_hash + static_cast<uint64_t>(n));
  return {static_cast<TokenId>(hash % static_cast<uint64_t>(model.vocab)),
          -1.0f - static_cast<float>(n)};
}

uint64_t Penalised(uint64_t hash, std::span<const TokenId> history, int32_t generated) {
  uint64_t digest = kEmptyPrefix + static_cast<uint64_t>(generated);
  for (TokenId id : history) digest = Extend(digest, id);
  return hash ^ Mix(digest);
}

uint64_t Seeded(uint64_t hash, uint64_t seed, uint64_t counter) {
  return seed == 0 ? hash : hash ^ Mix(Mix(seed) + counter);
}

std::optional<TokenId> ExpectedToken(const FakeModelOptions& model, std::span<const TokenId> prefix,
                                     size_t prompt_tokens, const SamplingParams& params) {
  uint64_t hash = kEmptyPrefix;
  for (TokenId token : prefix) hash = Extend(hash, token);
  const auto generated = static_cast<int32_t>(prefix.size() - prompt_tokens);
  if (params.repetition_penalty != 1) {
    hash = Penalised(hash, prefix, generated);
  } else if (params.frequency_penalty != 0 || params.presence_penalty != 0) {
    hash = Penalised(hash, prefix.subspan(prompt_tokens), generated);
  }
  hash = Seeded(hash, params.seed, static_cast<uint64_t>(generated));
  const auto excluded = [&](TokenId id) {
    const bool ends =
        (id == model.eos && !params.ignore_eos) || Contains(params.stop_token_ids, id);
    return (ends && generated < params.min_tokens) || IsBiasedAway(params, id) ||
           CompletesBadWord(params, prefix, id);
  };
  const TokenId id = DrawToken(model, hash, params.allowed_token_ids, excluded).token_id;
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

}  // namespace quire::testing
