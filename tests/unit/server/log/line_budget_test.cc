#include "server/log/line_budget.h"

#include <gtest/gtest.h>

namespace quire::server {
namespace {

using std::chrono::milliseconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(LineBudgetTest, SoManyLinesASecondAndACountOfTheOthers) {
  LineBudget budget(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.Take(kStart + milliseconds(i)));
  EXPECT_EQ(budget.TakeLeftOut(), 0);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(budget.Take(kStart + milliseconds(999)));
  EXPECT_TRUE(budget.Take(kStart + milliseconds(1000)));
  EXPECT_EQ(budget.TakeLeftOut(), 5);
  EXPECT_EQ(budget.TakeLeftOut(), 0);
  EXPECT_TRUE(budget.Take(kStart + milliseconds(1999)));
  EXPECT_TRUE(budget.Take(kStart + milliseconds(1999)));
  EXPECT_FALSE(budget.Take(kStart + milliseconds(1999)));
  EXPECT_TRUE(budget.Take(kStart + milliseconds(2000)));
}

}  // namespace
}  // namespace quire::server
