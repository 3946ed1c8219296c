#include "core/sched/policies/token_budget.h"

#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAreArray;

constexpr TokenDemand kDecode{1, false}, kNothing{0, false};
constexpr TokenParty kOneParty[] = {{}};
constexpr TokenDemand Prefill(int32_t tokens) { return {tokens, true}; }

TEST(TokenBudgetTest, DecodeComesFirstThenChunksInOrder) {
  const struct {
    const char* what;
    std::vector<TokenDemand> demands;
    int32_t budget;
    std::vector<int32_t> grants;
  } cases[] = {
      {"nobody", {}, 8, {}},
      {"decode rows get one token each", {kDecode, kDecode}, 8, {1, 1}},
      {"a whole prompt", {Prefill(5)}, 8, {5}},
      {"a prompt that fits exactly", {Prefill(8)}, 8, {8}},
      {"a chunk of a long prompt", {Prefill(100)}, 8, {8}},
      {"decode before an older prefill", {Prefill(100), kDecode}, 8, {7, 1}},
      {"the older prefill first", {Prefill(6), Prefill(6)}, 8, {6, 2}},
      {"the second waits for budget", {Prefill(8), Prefill(6)}, 8, {8, 0}},
      {"the last token counts", {Prefill(7), Prefill(6)}, 8, {7, 1}},
      {"decode takes it all", {kDecode, Prefill(3), kDecode}, 2, {1, 0, 1}},
      {"decode rows beyond the budget wait", {kDecode, kDecode, kDecode}, 2, {1, 1, 0}},
      {"who can compute nothing gets nothing", {kNothing, kDecode, Prefill(3)}, 8, {0, 1, 3}},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(SplitTokenBudget(c.demands, kOneParty, {c.budget, 0}), ElementsAreArray(c.grants))
        << c.what;
  }
}

TEST(TokenBudgetTest, BesideDecodeRowsALongPromptTakesNoMoreThanItsShare) {
  const struct {
    const char* what;
    std::vector<TokenDemand> demands;
    std::vector<int32_t> grants;
  } cases[] = {
      {"nobody decodes", {Prefill(100)}, {20}},
      {"a long one", {kDecode, Prefill(100)}, {1, 6}},
      {"the rest is not for others", {kDecode, Prefill(100), Prefill(100)}, {1, 6, 0}},
      {"one that ends is whole", {kDecode, Prefill(12)}, {1, 12}},
      {"but not a long one", {kDecode, Prefill(13)}, {1, 6}},
      {"and leaves nothing", {kDecode, Prefill(10), Prefill(4)}, {1, 10, 0}},
      {"a short one leaves some", {kDecode, Prefill(2), Prefill(100)}, {1, 2, 4}},
      {"one that begins in time ends", {kDecode, Prefill(5), Prefill(9)}, {1, 5, 9}},
      {"who cannot go on does not count", {kNothing, Prefill(100)}, {0, 20}},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(SplitTokenBudget(c.demands, kOneParty,
                                 {.tokens = 20, .scored_tokens = 0, .prefill_beside_decode = 6}),
                ElementsAreArray(c.grants))
        << c.what;
  }
}

TEST(TokenBudgetTest, AScoredChunkEndsWhereItsRowsDo) {
  const struct {
    const char* what;
    std::vector<TokenDemand> demands;
    StepBudget budget;
    std::vector<int32_t> grants;
  } cases[] = {
      {"rows are short", {{20, true, 19}}, {16, 5}, {5}},
      {"tokens are short", {{20, true, 19}}, {4, 5}, {4}},
      {"all of it, and the last token needs no row", {{6, true, 5}}, {16, 5}, {6}},
      {"only its sample is left", {{1, true, 0}}, {16, 0}, {1}},
      {"the second has no row left", {{20, true, 19}, {20, true, 19}}, {16, 5}, {5, 0}},
      {"the second takes the rest", {{4, true, 3}, {20, true, 19}}, {16, 5}, {4, 2}},
      {"one without scores goes on", {{20, true, 19}, {20, true, 0}}, {16, 5}, {5, 11}},
      {"decode rows need none", {{20, true, 19}, {1, false, 0}}, {3, 5}, {2, 1}},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(SplitTokenBudget(c.demands, kOneParty, c.budget), ElementsAreArray(c.grants))
        << c.what;
  }
}

TEST(TokenBudgetTest, TheLowestCounterTakesItsChunkFirst) {
  const auto of = [](int32_t party, int32_t tokens) {
    return TokenDemand{.runnable_tokens = tokens, .prefill = true, .party = party};
  };
  const struct {
    const char* what;
    std::vector<TokenDemand> demands;
    std::vector<TokenParty> parties;
    std::vector<int32_t> grants;
  } cases[] = {
      {"the later party is behind", {of(0, 8), of(1, 8)}, {{5}, {4}}, {2, 8}},
      {"of equals the one that came last", {of(0, 8), of(1, 8)}, {{4, 1}, {4, 2}}, {2, 8}},
      {"each chunk counts", {of(0, 3), of(0, 4), of(1, 5)}, {{4}, {5}}, {3, 2, 5}},
      {"a chunk costs more where the weight is small",
       {of(0, 2), of(0, 8), of(1, 8)},
       {{4, 0, 0.5}, {5.5, 0, 1}},
       {2, 8, 0}},
      {"a party without a demand", {of(1, 4)}, {{0}, {9}}, {4}},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(SplitTokenBudget(c.demands, c.parties, {10, 0}), ElementsAreArray(c.grants))
        << c.what;
  }
}

TEST(TokenBudgetTest, SpendsAllItCanAndNeverMore) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 rng(seed);
    const auto below = [&rng](int n) {
      return static_cast<int32_t>(rng() % static_cast<uint64_t>(n));
    };
    std::vector<TokenDemand> demands(static_cast<size_t>(below(20)));
    int32_t wanted = 0;
    for (TokenDemand& demand : demands) {
      demand = below(2) == 0 ? TokenDemand{below(2), false} : Prefill(1 + below(50));
      wanted += demand.runnable_tokens;
    }
    const int32_t budget = 1 + below(200);
    const std::vector<int32_t> grants = SplitTokenBudget(demands, kOneParty, {budget, 0});
    ASSERT_EQ(grants.size(), demands.size());
    for (size_t i = 0; i < grants.size(); ++i) {
      ASSERT_GE(grants[i], 0);
      ASSERT_LE(grants[i], demands[i].runnable_tokens);
    }
    ASSERT_EQ(std::accumulate(grants.begin(), grants.end(), 0), std::min(wanted, budget));
  }
}

}  // namespace
}  // namespace quire
