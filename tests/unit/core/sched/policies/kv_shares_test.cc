#include "core/sched/policies/kv_shares.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"

namespace quire {
namespace {

constexpr TenantId kA(0), kB(1), kC(2);

struct Amounts {
  int64_t reserved = 0;
  int64_t limit = 0;
};

TenantTable Table(const std::vector<Amounts>& amounts) {
  TenantTable table;
  for (const Amounts& amount : amounts) {
    TenantPolicy& policy = table.emplace_back();
    policy.kv_reserved_bytes = amount.reserved;
    policy.kv_limit_bytes = amount.limit;
  }
  return table;
}

KvShares WithAmounts(const std::vector<Amounts>& amounts) {
  KvShares shares;
  shares.SetPolicies(Table(amounts));
  return shares;
}

TEST(KvSharesTest, WithinItsReserveATenantGetsKvFirmlyHoweverLittleIsLeft) {
  KvShares shares = WithAmounts({{.reserved = 100}, {.reserved = 100}});
  EXPECT_TRUE(shares.IsFirm(kA, 100, 0));
  shares.Add(kA, 60);
  EXPECT_TRUE(shares.IsFirm(kA, 40, 0));
  EXPECT_FALSE(shares.IsFirm(kA, 41, 0));
}

TEST(KvSharesTest, BeyondItsReserveItIsALoanWhereOthersMayWantItBack) {
  KvShares shares = WithAmounts({{}, {.reserved = 100}, {.reserved = 50}});
  const struct {
    int64_t used_b, used_c, free_after;
    bool firm;
  } cases[] = {
      {0, 0, 150, true},  {0, 0, 149, false}, {30, 0, 120, true},  {30, 0, 119, false},
      {100, 50, 0, true}, {200, 0, 50, true}, {200, 0, 49, false},
  };
  for (const auto& c : cases) {
    shares.Add(kB, c.used_b);
    shares.Add(kC, c.used_c);
    EXPECT_EQ(shares.IsFirm(kA, 10, c.free_after), c.firm)
        << c.used_b << ", " << c.used_c << " used, " << c.free_after << " left";
    shares.Add(kB, -c.used_b);
    shares.Add(kC, -c.used_c);
  }
}

TEST(KvSharesTest, ItsOwnReserveIsNotKeptFromATenant) {
  KvShares shares = WithAmounts({{.reserved = 100}, {.reserved = 20}});
  EXPECT_TRUE(shares.IsFirm(kA, 101, 20));
  EXPECT_FALSE(shares.IsFirm(kA, 101, 19));
}

TEST(KvSharesTest, ALimitIsForAllThatATenantUses) {
  KvShares shares = WithAmounts({{.reserved = 50, .limit = 100}, {}});
  shares.Add(kA, 60);
  EXPECT_FALSE(shares.IsOverLimit(kA, 40));
  EXPECT_TRUE(shares.IsOverLimit(kA, 41));
  EXPECT_FALSE(shares.IsOverLimit(kB, 1 << 20)) << "0 is no limit";
}

TEST(KvSharesTest, CountsWhatIsUsedAndWhichReservesAreNot) {
  KvShares shares = WithAmounts({{.reserved = 100}, {.reserved = 50}});
  EXPECT_EQ(shares.unused_reserves(), 150);
  shares.Add(kA, 120);
  shares.Add(kB, 20);
  EXPECT_EQ(shares.used(kA), 120);
  EXPECT_EQ(shares.unused_reserves(), 30);
  EXPECT_FALSE(shares.IsWithinReserve(kA));
  EXPECT_TRUE(shares.IsWithinReserve(kB, 30));
  EXPECT_FALSE(shares.IsWithinReserve(kB, 31));
  shares.Add(kA, -40);
  EXPECT_EQ(shares.unused_reserves(), 50);
}

TEST(KvSharesTest, NewPoliciesKeepWhatIsUsed) {
  KvShares shares = WithAmounts({{.reserved = 100}});
  shares.Add(kA, 80);
  shares.SetPolicies(Table({{.reserved = 30, .limit = 90}, {.reserved = 40}}));
  EXPECT_EQ(shares.used(kA), 80);
  EXPECT_EQ(shares.used(kB), 0);
  EXPECT_EQ(shares.unused_reserves(), 40);
  EXPECT_TRUE(shares.IsOverLimit(kA, 11));
}

TEST(KvSharesDeathTest, NobodyGivesBackWhatItDoesNotHave) {
  KvShares shares = WithAmounts({{}});
  shares.Add(kA, 5);
  EXPECT_DEATH(shares.Add(kA, -6), "used");
}

// One cache of kTotal bytes, and tenants that take KV and give it back at random.
class RandomShares {
 public:
  static constexpr int64_t kTotal = 1000;
  struct Holding {
    TenantId tenant;
    int64_t bytes;
    bool loan;
  };

  explicit RandomShares(unsigned seed) : random_(seed) {
    std::vector<Amounts> amounts;
    int64_t left = kTotal;
    for (int i = 0; i < 4; ++i) {
      amounts.push_back({.reserved = Below(3) == 0 ? 0 : Below(left + 1)});
      left -= amounts.back().reserved;
    }
    policies_ = Table(amounts);
    shares_.SetPolicies(policies_);
  }

  void TakeOrGiveBack() {
    if (!holdings_.empty() && Below(3) == 0) return GiveBack(static_cast<size_t>(Below(Size())));
    const TenantId tenant(static_cast<uint32_t>(Below(4)));
    const int64_t bytes = 1 + Below(200);
    const bool covered = shares_.IsWithinReserve(tenant, bytes);
    if (covered) ReclaimFor(bytes);
    if (covered) {
      ASSERT_LE(bytes, Free());
    }
    if (bytes > Free()) return;
    const bool loan = !shares_.IsFirm(tenant, bytes, Free() - bytes);
    if (covered) {
      ASSERT_FALSE(loan);
    }
    loans_ += loan ? 1 : 0;
    shares_.Add(tenant, bytes);
    holdings_.push_back({tenant, bytes, loan});
  }

  // What the tenants were granted firmly or are owed, whichever is more.
  int64_t FirmOrOwed() const {
    int64_t sum = 0;
    for (size_t i = 0; i < policies_.size(); ++i) {
      int64_t firm = 0;
      for (const Holding& h : holdings_) {
        if (h.tenant.value() == i && !h.loan) firm += h.bytes;
      }
      sum += std::max(firm, policies_[i].kv_reserved_bytes);
    }
    return sum;
  }
  int64_t loans() const { return loans_; }
  int64_t reclaimed() const { return reclaimed_; }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  int64_t Size() const { return static_cast<int64_t>(holdings_.size()); }
  int64_t Free() const {
    int64_t free = kTotal;
    for (const Holding& h : holdings_) free -= h.bytes;
    return free;
  }
  void GiveBack(size_t i) {
    shares_.Add(holdings_[i].tenant, -holdings_[i].bytes);
    holdings_.erase(holdings_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  void ReclaimFor(int64_t bytes) {
    for (size_t i = holdings_.size(); i-- > 0 && Free() < bytes;) {
      if (!holdings_[i].loan) continue;
      GiveBack(i);
      ++reclaimed_;
    }
  }

  std::mt19937_64 random_;
  TenantTable policies_;
  KvShares shares_;
  std::vector<Holding> holdings_;
  int64_t loans_ = 0, reclaimed_ = 0;
};

TEST(KvSharesTest, PreemptingLoansAlwaysGivesATenantItsReserve) {
  int64_t loans = 0, reclaimed = 0;
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    RandomShares shares(seed);
    for (int i = 0; i < 400; ++i) {
      ASSERT_NO_FATAL_FAILURE(shares.TakeOrGiveBack()) << "in operation " << i;
      ASSERT_LE(shares.FirmOrOwed(), RandomShares::kTotal) << "after operation " << i;
    }
    loans += shares.loans();
    reclaimed += shares.reclaimed();
  }
  EXPECT_GT(loans, 100);
  EXPECT_GT(reclaimed, 100);
}

}  // namespace
}  // namespace quire
