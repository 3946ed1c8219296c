#include "core/base/check.h"

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(CheckDeathTest, ABrokenInvariantPrintsWhereWhatAndWhy) {
  const int blocks = 3;
  EXPECT_DEATH(QUIRE_CHECK(blocks == 4) << "held " << blocks,
               "check_test.cc:[0-9]+: check failed: blocks == 4 held 3");
}

TEST(CheckTest, AConditionThatHoldsEvaluatesNothingElse) {
  int evaluated = 0;
  const auto message = [&evaluated] { return ++evaluated; };
  QUIRE_CHECK(true) << message();
  EXPECT_EQ(evaluated, 0);
}

TEST(CheckTest, TheConditionIsEvaluatedOnce) {
  int evaluated = 0;
  QUIRE_CHECK(++evaluated == 1);
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckTest, IsOneStatementInABranchWithoutBraces) {
  bool taken = false;
  if (taken)
    QUIRE_CHECK(false) << "not reached";
  else
    taken = true;
  EXPECT_TRUE(taken);
}

}  // namespace
}  // namespace quire
