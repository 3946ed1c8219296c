#include <random>
#include <string>
#include <vector>

#include "core/sample/stop_matcher.h"
#include "gtest/gtest.h"
#include "tests/support/random_seeds.h"

// The matcher against a naive search of the whole text after every piece. Replay one seed with
// QUIRE_TEST_SEED.

namespace quire {
namespace {

// First end of a match, and the longest pattern that ends there; npos and 0 without one.
struct Match {
  size_t end = std::string::npos;
  size_t length = 0;
};

Match FirstMatch(const std::vector<std::string>& patterns, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& pattern : patterns) {
      if (std::string_view(text).substr(0, end).ends_with(pattern)) {
        longest = std::max(longest, pattern.size());
      }
    }
    if (longest > 0) return {end, longest};
  }
  return {};
}

// The longest suffix of the text that is a proper start of a pattern.
size_t LongestPartial(const std::vector<std::string>& patterns, const std::string& text) {
  size_t longest = 0;
  for (const std::string& pattern : patterns) {
    for (size_t n = 1; n < pattern.size(); ++n) {
      if (text.ends_with(pattern.substr(0, n))) longest = std::max(longest, n);
    }
  }
  return longest;
}

class RandomText {
 public:
  explicit RandomText(uint64_t seed) : rng_(seed), alphabet_(Uniform(1, 3)) {}

  size_t Uniform(size_t low, size_t high) {
    return std::uniform_int_distribution<size_t>(low, high)(rng_);
  }
  std::string String(size_t length) {
    std::string text(length, 'a');
    for (char& c : text) c = static_cast<char>('a' + Uniform(0, alphabet_ - 1));
    return text;
  }

 private:
  std::mt19937_64 rng_;
  size_t alphabet_;
};

// Feeds random pieces up to the first match; returns whether there was one.
bool CheckOneStream(RandomText* random) {
  std::vector<std::string> patterns(random->Uniform(1, 4));
  for (std::string& pattern : patterns) pattern = random->String(random->Uniform(1, 8));
  StopMatcher matcher(patterns);
  std::string text;
  while (text.size() < 60) {
    const std::string piece = random->String(random->Uniform(0, 5));
    text += piece;
    const bool found = matcher.Feed(piece);
    const Match match = FirstMatch(patterns, text);
    EXPECT_EQ(found, match.length > 0) << text;
    if (found) {
      EXPECT_EQ(matcher.trim_bytes(), text.size() - match.end + match.length) << text;
      return true;
    }
    EXPECT_EQ(matcher.partial_bytes(), LongestPartial(patterns, text)) << text;
    if (::testing::Test::HasFailure()) break;
  }
  return false;
}

TEST(StopMatcherRandomTest, AgreesWithANaiveSearch) {
  int matches = 0, misses = 0;
  const std::vector<uint64_t> seeds = testing::RandomSeeds(3000);
  for (uint64_t seed : seeds) {
    if (HasFailure()) return;
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomText random(seed);
    ++(CheckOneStream(&random) ? matches : misses);
  }
  if (seeds.size() == 1) return;
  EXPECT_GT(matches, 100);
  EXPECT_GT(misses, 100);
}

}  // namespace
}  // namespace quire
