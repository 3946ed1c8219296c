#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/sample/stop_checker.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"

// The checker against a search of the whole text after every token, and the matcher with every way
// to cut a text into tokens. Replay one seed with QUIRE_TEST_SEED.

namespace quire {
namespace {

// Tokens of one to four letters, one without text and, from kFirstSpecial on, special ones, whose
// text counts only where it is shown.
constexpr std::array<std::string_view, 9> kText = {"a",    "b", "ab",  "ba", "aab",
                                                   "abba", "",  "<e>", "<b>"};
constexpr TokenId kFirstSpecial = 7;

struct Ending {
  FinishReason reason{};
  size_t trim_bytes = 0;
  bool operator==(const Ending&) const = default;
};

class NaiveChecker {
 public:
  NaiveChecker(const SamplingParams& params, std::vector<TokenId> eos)
      : params_(params), eos_(std::move(eos)) {}

  // What ends a sequence of these tokens at its last, none of those before having done so.
  std::optional<Ending> Check(const std::vector<TokenId>& tokens) const {
    const auto generated = static_cast<int32_t>(tokens.size());
    if (generated < params_.min_tokens) return std::nullopt;
    const std::string_view bytes = TextOf(tokens.back());
    const bool is_eos = !params_.ignore_eos && Has(eos_, tokens.back());
    if (is_eos || Has(params_.stop_token_ids, tokens.back())) {
      return Ending{FinishReason::kStop, params_.include_stop ? 0 : bytes.size()};
    }
    const std::string text = Whole(tokens);
    for (size_t end = text.size() - bytes.size() + 1; end <= text.size(); ++end) {
      size_t longest = 0;
      for (const std::string& stop : params_.stop) {
        if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
      }
      if (longest == 0) continue;
      return Ending{FinishReason::kStop, text.size() - end + (params_.include_stop ? 0 : longest)};
    }
    if (generated >= params_.max_tokens) return Ending{FinishReason::kLength, 0};
    return std::nullopt;
  }

  // Bytes at the end that a stop string may still take away: a proper start of it.
  size_t HoldBack(const std::vector<TokenId>& tokens) const {
    size_t longest = 0;
    if (params_.include_stop) return 0;
    const std::string text = Whole(tokens);
    for (const std::string& stop : params_.stop) {
      for (size_t n = 1; n < stop.size(); ++n) {
        if (text.ends_with(stop.substr(0, n))) longest = std::max(longest, n);
      }
    }
    return longest;
  }

 private:
  static bool Has(const std::vector<TokenId>& ids, TokenId token) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  }
  std::string_view TextOf(TokenId token) const {
    const bool hidden = token >= kFirstSpecial && params_.skip_special_tokens;
    return hidden ? std::string_view() : kText.at(static_cast<size_t>(token));
  }
  std::string Whole(const std::vector<TokenId>& tokens) const {
    std::string text;
    for (TokenId token : tokens) text += TextOf(token);
    return text;
  }

  const SamplingParams& params_;
  const std::vector<TokenId> eos_;
};

class RandomRequest {
 public:
  explicit RandomRequest(uint64_t seed) : rng_(seed) {}

  int32_t Uniform(int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(rng_);
  }
  TokenId Token() { return Uniform(0, static_cast<int32_t>(kText.size()) - 1); }

  SamplingParams Params() {
    SamplingParams params;
    params.max_tokens = Uniform(1, 30);
    params.min_tokens = Uniform(0, 1) * Uniform(0, params.max_tokens);
    params.ignore_eos = Uniform(0, 1) == 0;
    params.include_stop = Uniform(0, 1) == 0;
    params.skip_special_tokens = Uniform(0, 1) == 0;
    if (Uniform(0, 3) == 0) params.stop_token_ids = {Token()};
    params.stop.resize(static_cast<size_t>(Uniform(0, 3)));
    for (std::string& stop : params.stop) {
      for (int32_t i = Uniform(1, 9); i > 0; --i) stop += "aab<"[Uniform(0, 3)];
    }
    return params;
  }

 private:
  std::mt19937_64 rng_;
};

// Whether it ended otherwise than by length.
bool CheckOneRequest(uint64_t seed) {
  RandomRequest random(seed);
  const SamplingParams params = random.Params();
  StopRules rules;
  rules.eos_token_ids = {kFirstSpecial};
  rules.token_bytes = [](TokenId token) {
    return token >= kFirstSpecial ? std::string_view() : kText.at(static_cast<size_t>(token));
  };
  rules.shown_token_bytes = [](TokenId token) { return kText.at(static_cast<size_t>(token)); };
  StopChecker checker(&rules, &params);
  const NaiveChecker naive(params, rules.eos_token_ids);
  std::vector<TokenId> tokens;
  while (true) {
    tokens.push_back(random.Token());
    const std::optional<FinishReason> reason =
        checker.Check(tokens.back(), static_cast<int32_t>(tokens.size()));
    const std::optional<Ending> wanted = naive.Check(tokens);
    EXPECT_EQ(reason.has_value(), wanted.has_value()) << "at token " << tokens.size();
    if (reason.has_value() != wanted.has_value()) return false;
    if (reason.has_value()) {
      EXPECT_EQ(*reason, wanted->reason);
      EXPECT_EQ(checker.trim_bytes(), wanted->trim_bytes);
      return *reason == FinishReason::kStop;
    }
    EXPECT_EQ(checker.hold_back_bytes(), naive.HoldBack(tokens)) << "at token " << tokens.size();
  }
}

TEST(StopCheckerRandomTest, EndsWhereASearchOfTheWholeTextDoes) {
  const std::vector<uint64_t> seeds = testing::RandomSeeds(5000);
  int stops = 0;
  for (uint64_t seed : seeds) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    stops += CheckOneRequest(seed) ? 1 : 0;
    if (HasFailure()) return;
  }
  if (seeds.size() == 1) return;
  EXPECT_GT(stops, 500);
  EXPECT_LT(stops, 4500);
}

// Bit i of `cuts`: a token ends behind byte i. Returns where it was found, in bytes from the
// start, and where the match begins.
std::pair<size_t, size_t> FeedCut(const std::vector<std::string>& stops, const std::string& text,
                                  uint32_t cuts) {
  StopMatcher matcher(stops);
  for (size_t begin = 0, end = 1; end <= text.size(); ++end) {
    if (end < text.size() && (cuts >> (end - 1) & 1) == 0) continue;
    if (matcher.Feed(std::string_view(text).substr(begin, end - begin))) {
      return {end - matcher.rest_bytes(), end - matcher.trim_bytes()};
    }
    begin = end;
  }
  return {0, 0};
}

TEST(StopCheckerRandomTest, NoCutOfTheTextIntoTokensChangesWhatIsFound) {
  for (uint64_t seed : testing::RandomSeeds(100)) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomRequest random(seed);
    std::string text;
    for (int i = 0; i < 10; ++i) text += "ab"[random.Uniform(0, 1)];
    std::vector<std::string> stops(static_cast<size_t>(random.Uniform(1, 3)));
    for (std::string& stop : stops) {
      for (int32_t i = random.Uniform(2, 6); i > 0; --i) stop += "ab"[random.Uniform(0, 1)];
    }
    // By hand: the match that ends first, of those the longest.
    std::pair<size_t, size_t> wanted;
    for (size_t end = text.size(); end > 0; --end) {
      for (const std::string& stop : stops) {
        if (!text.substr(0, end).ends_with(stop)) continue;
        const size_t begin = end - stop.size();
        wanted = wanted.first == end ? std::pair(end, std::min(wanted.second, begin))
                                     : std::pair(end, begin);
      }
    }
    for (uint32_t cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      ASSERT_EQ(FeedCut(stops, text, cuts), wanted) << text << " cut by " << cuts;
    }
  }
}

}  // namespace
}  // namespace quire
