#include "core/sched/policies/fair_share.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr TenantId kA(0), kB(1), kC(2);

FairShare WithWeights(const std::vector<double>& weights) {
  FairShare fair;
  fair.SetWeights(weights);
  return fair;
}

// The eligible tenants, whose turn it is first.
std::vector<TenantId> InOrder(const FairShare& fair) {
  std::vector<FairShare::Turn> turns = fair.turns();
  std::sort(turns.begin(), turns.end());
  std::vector<TenantId> tenants;
  tenants.reserve(turns.size());
  for (const FairShare::Turn& turn : turns) tenants.push_back(turn.tenant);
  return tenants;
}

TEST(FairShareTest, TheLowestCounterGoesFirst) {
  FairShare fair = WithWeights({1, 1, 1});
  for (const TenantId id : {kA, kB, kC}) fair.SetEligible(id, true);
  fair.Charge(kA, 5);
  fair.Charge(kB, 3);
  fair.Charge(kC, 4);
  EXPECT_THAT(InOrder(fair), ElementsAre(kB, kC, kA));
  fair.Charge(kB, 3);
  EXPECT_THAT(InOrder(fair), ElementsAre(kC, kA, kB));
}

TEST(FairShareTest, OnlyTheEligibleHaveATurn) {
  FairShare fair = WithWeights({1, 1, 1});
  EXPECT_THAT(InOrder(fair), IsEmpty());
  fair.SetEligible(kB, true);
  fair.SetEligible(kC, true);
  fair.Charge(kB, 1);
  EXPECT_THAT(InOrder(fair), ElementsAre(kC, kB));
  EXPECT_FALSE(fair.IsEligible(kA));
  fair.SetEligible(kC, false);
  EXPECT_THAT(InOrder(fair), ElementsAre(kB));
  fair.SetEligible(kB, false);
  EXPECT_THAT(InOrder(fair), IsEmpty());
}

TEST(FairShareTest, AmongEqualsTheOneThatBecameEligibleLastIsFirst) {
  FairShare fair = WithWeights({1, 1, 1});
  for (const TenantId id : {kB, kA, kC}) fair.SetEligible(id, true);
  EXPECT_THAT(InOrder(fair), ElementsAre(kC, kA, kB));
  fair.SetEligible(kB, true);  // it is already
  EXPECT_THAT(InOrder(fair), ElementsAre(kC, kA, kB));
  fair.SetEligible(kB, false);
  fair.SetEligible(kB, true);
  EXPECT_THAT(InOrder(fair), ElementsAre(kB, kC, kA));
}

TEST(FairShareTest, WhoBecomesEligibleIsLiftedToTheLowestOfTheOthers) {
  FairShare fair = WithWeights({1, 1, 1});
  fair.SetEligible(kA, true);
  fair.SetEligible(kB, true);
  fair.Charge(kA, 10);
  fair.Charge(kB, 7);
  fair.SetEligible(kC, true);
  EXPECT_EQ(fair.counter(kC), 7) << "idle time saves up nothing";
}

TEST(FairShareTest, WhoIsAheadOfTheOthersIsNotForgiven) {
  FairShare fair = WithWeights({1, 1});
  fair.SetEligible(kA, true);
  fair.Charge(kA, 10);
  fair.SetEligible(kB, true);
  EXPECT_EQ(fair.counter(kB), 10);
  fair.Charge(kB, 20);
  fair.SetEligible(kB, false);
  fair.SetEligible(kB, true);
  EXPECT_EQ(fair.counter(kB), 30) << "leaving and coming back lowers no counter";
}

TEST(FairShareTest, WithNobodyEligibleTheLastOneThatWasSetsTheMark) {
  FairShare fair = WithWeights({1, 1, 1});
  fair.SetEligible(kA, true);
  fair.SetEligible(kB, true);
  fair.Charge(kA, 10);
  fair.Charge(kB, 4);
  fair.SetEligible(kA, false);
  fair.SetEligible(kB, false);
  fair.SetEligible(kC, true);
  EXPECT_EQ(fair.counter(kC), 4) << "b was the last";
  fair.SetEligible(kA, true);
  EXPECT_EQ(fair.counter(kA), 10);
}

TEST(FairShareTest, AHeavierTenantIsChargedLess) {
  FairShare fair = WithWeights({4, 0.5});
  fair.SetEligible(kA, true);
  fair.SetEligible(kB, true);
  fair.Charge(kA, 8);
  fair.Charge(kB, 8);
  EXPECT_EQ(fair.counter(kA), 2);
  EXPECT_EQ(fair.counter(kB), 16);
  EXPECT_EQ(fair.received(kA), 8);
  EXPECT_EQ(fair.received(kB), 8);
}

TEST(FairShareTest, WhatIsExpectedCountsForTurnsAndNotForCounters) {
  FairShare fair = WithWeights({2, 1, 1});
  fair.SetEligible(kA, true);
  fair.SetEligible(kB, true);
  fair.Expect(kA, 6);
  EXPECT_EQ(fair.counter(kA), 0);
  EXPECT_EQ(fair.turn(kA).counter, 3);
  EXPECT_THAT(InOrder(fair), ElementsAre(kB, kA));
  fair.Charge(kB, 4);
  EXPECT_THAT(InOrder(fair), ElementsAre(kA, kB));
  fair.SetEligible(kC, true);
  EXPECT_EQ(fair.counter(kC), 0) << "lifted to counters, not to expectations";
  EXPECT_EQ(fair.received(kA), 0);
  fair.Expect(kA, -6);
  EXPECT_EQ(fair.turn(kA).counter, 0);
}

TEST(FairShareTest, WhatIsExpectedOfOneThatIsNotEligibleIsRemembered) {
  FairShare fair = WithWeights({1, 1});
  fair.Expect(kA, 6);
  fair.SetEligible(kB, true);
  fair.SetEligible(kA, true);
  EXPECT_THAT(InOrder(fair), ElementsAre(kB, kA));
}

TEST(FairShareTest, ARefundIsANegativeCharge) {
  FairShare fair = WithWeights({2, 1});
  fair.SetEligible(kA, true);
  fair.Charge(kA, 10);
  fair.Charge(kA, -4);
  EXPECT_EQ(fair.counter(kA), 3);
  EXPECT_EQ(fair.received(kA), 6);
  EXPECT_EQ(fair.received_of_due(kA), 6);
  EXPECT_DOUBLE_EQ(fair.due(kA), 6);
}

TEST(FairShareTest, WhatIsDueIsTheShareByWeightOfWhatWasComputedMeanwhile) {
  FairShare fair = WithWeights({3, 1});
  fair.SetEligible(kA, true);
  fair.Charge(kA, 8);
  EXPECT_DOUBLE_EQ(fair.due(kA), 8) << "alone it is owed everything";
  fair.SetEligible(kB, true);
  fair.Charge(kA, 2);
  fair.Charge(kB, 6);
  EXPECT_DOUBLE_EQ(fair.due(kA), 8 + 6);
  EXPECT_DOUBLE_EQ(fair.due(kB), 2);
  EXPECT_EQ(fair.received_of_due(kA), 10);
  EXPECT_EQ(fair.received_of_due(kB), 6);
}

TEST(FairShareTest, NothingIsDueWhileNotEligible) {
  FairShare fair = WithWeights({1, 1});
  fair.SetEligible(kA, true);
  fair.SetEligible(kB, true);
  fair.Charge(kA, 4);
  fair.SetEligible(kB, false);
  fair.Charge(kA, 4);
  fair.Charge(kB, 3);  // it decodes
  EXPECT_DOUBLE_EQ(fair.due(kB), 2);
  EXPECT_EQ(fair.received_of_due(kB), 0);
  EXPECT_EQ(fair.received(kB), 3);
  EXPECT_DOUBLE_EQ(fair.due(kA), 2 + 4 + 3) << "what others are given comes out of its share";
  fair.SetEligible(kA, false);
  fair.Charge(kB, 5);
  EXPECT_DOUBLE_EQ(fair.due(kA), 9);
  EXPECT_DOUBLE_EQ(fair.due(kB), 2);
}

TEST(FairShareTest, NewWeightsCountFromThenOnEvenForTheEligible) {
  FairShare fair = WithWeights({1, 1});
  fair.SetEligible(kA, true);
  fair.SetEligible(kB, true);
  fair.Charge(kA, 8);
  fair.Charge(kB, 6);
  fair.SetWeights({3, 1, 1});
  EXPECT_EQ(fair.counter(kA), 8) << "what was charged stays";
  EXPECT_DOUBLE_EQ(fair.due(kA), 7);
  fair.Charge(kA, 6);
  fair.Charge(kB, 2);
  EXPECT_EQ(fair.counter(kA), 10);
  EXPECT_EQ(fair.counter(kB), 8);
  EXPECT_DOUBLE_EQ(fair.due(kA), 7 + 6);
  EXPECT_DOUBLE_EQ(fair.due(kB), 7 + 2);
  EXPECT_EQ(fair.weight(kA), 3);
  fair.SetEligible(kC, true);
  EXPECT_EQ(fair.counter(kC), 8) << "a tenant that is new is lifted as any other";
  EXPECT_THAT(InOrder(fair), ElementsAre(kC, kB, kA));
}

// The rules, told the long way.
class NaiveShare {
 public:
  struct Tenant {
    double weight, counter = 0, expected = 0, received = 0, received_of_due = 0, due = 0;
    uint64_t since = 0;
    bool eligible = false;
  };

  explicit NaiveShare(const std::vector<double>& weights) { SetWeights(weights); }
  void SetWeights(const std::vector<double>& weights) {
    tenants.resize(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) tenants[i].weight = weights[i];
  }
  void SetEligible(size_t i, bool eligible) {
    Tenant& tenant = tenants[i];
    if (tenant.eligible == eligible) return;
    if (!eligible) {
      tenant.eligible = false;
      last_counter = tenant.counter;
      return;
    }
    std::optional<double> lowest;
    for (const Tenant& other : tenants) {
      if (other.eligible) lowest = std::min(lowest.value_or(other.counter), other.counter);
    }
    tenant.counter = std::max(tenant.counter, lowest.value_or(last_counter));
    tenant.eligible = true;
    tenant.since = ++last_since;
  }
  void Charge(size_t i, double cost) {
    double weights = 0;
    for (const Tenant& tenant : tenants) weights += tenant.eligible ? tenant.weight : 0;
    for (Tenant& tenant : tenants) {
      if (tenant.eligible) tenant.due += cost * tenant.weight / weights;
    }
    tenants[i].counter += cost / tenants[i].weight;
    tenants[i].received += cost;
    if (tenants[i].eligible) tenants[i].received_of_due += cost;
  }

  std::vector<Tenant> tenants;
  double last_counter = 0;
  uint64_t last_since = 0;
};

void ExpectEqual(const FairShare& fair, const NaiveShare& naive) {
  size_t eligible = 0;
  for (size_t i = 0; i < naive.tenants.size(); ++i) {
    const TenantId id(static_cast<uint32_t>(i));
    const NaiveShare::Tenant& tenant = naive.tenants[i];
    eligible += tenant.eligible ? 1 : 0;
    ASSERT_EQ(fair.IsEligible(id), tenant.eligible);
    ASSERT_NEAR(fair.counter(id), tenant.counter, 1e-6);
    ASSERT_NEAR(fair.turn(id).counter, tenant.counter + tenant.expected / tenant.weight, 1e-6);
    ASSERT_EQ(fair.since(id), tenant.since);
    ASSERT_NEAR(fair.received(id), tenant.received, 1e-6);
    ASSERT_NEAR(fair.received_of_due(id), tenant.received_of_due, 1e-6);
    ASSERT_NEAR(fair.due(id), tenant.due, 1e-6);
  }
  std::vector<FairShare::Turn> turns = fair.turns();
  ASSERT_EQ(turns.size(), eligible);
  for (const FairShare::Turn& turn : turns) ASSERT_TRUE(fair.IsEligible(turn.tenant));
}

TEST(FairShareTest, AgreesWithTheRulesToldTheLongWay) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    std::vector<double> weights = {1, 2, 0.25, 8, 1};
    FairShare fair = WithWeights(weights);
    NaiveShare naive(weights);
    for (int i = 0; i < 500; ++i) {
      const auto tenant = static_cast<size_t>(below(static_cast<int>(weights.size())));
      const TenantId id(static_cast<uint32_t>(tenant));
      const int cost = below(50) - 5;
      switch (below(10)) {
        case 0:
          if (weights.size() < 8) weights.push_back(1);
          weights[tenant] = 1 + below(8);
          fair.SetWeights(weights);
          naive.SetWeights(weights);
          break;
        case 1:
        case 2:
          fair.Expect(id, cost);
          naive.tenants[tenant].expected += cost;
          break;
        case 3:
        case 4:
        case 5: {
          const bool eligible = below(3) > 0;
          fair.SetEligible(id, eligible);
          naive.SetEligible(tenant, eligible);
          break;
        }
        default:
          fair.Charge(id, cost);
          naive.Charge(tenant, cost);
      }
      ASSERT_NO_FATAL_FAILURE(ExpectEqual(fair, naive)) << "after operation " << i;
    }
  }
}

// The paper's theorem: with turns of at most M each, what two backlogged tenants have been given
// differs by at most 2 M / (least weight) once divided by their weights, over any interval.
TEST(FairShareTest, TwoBackloggedTenantsStayWithinTheTheoremsBound) {
  std::mt19937 random(7);
  FairShare fair = WithWeights({3, 1});
  fair.SetEligible(kA, true);
  fair.Charge(kA, 1000);  // before the other came
  fair.SetEligible(kB, true);
  constexpr double kMost = 40;
  double lowest = 0, highest = 0, a = 0, b = 0;
  for (int turn = 0; turn < 5000; ++turn) {
    const TenantId id = InOrder(fair).front();
    const double cost = 1 + static_cast<double>(random() % 40);
    fair.Charge(id, cost);
    (id == kA ? a : b) += cost;
    lowest = std::min(lowest, a / 3 - b);
    highest = std::max(highest, a / 3 - b);
    ASSERT_LE(highest - lowest, 2 * kMost) << "after turn " << turn;
  }
  EXPECT_NEAR(a / (a + b), 0.75, 0.001);
}

}  // namespace
}  // namespace quire
