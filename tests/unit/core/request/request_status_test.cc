#include "core/request/request_status.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(FinishReasonTest, EveryReasonHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i < kNumFinishReasons; ++i) {
    names.insert(FinishReasonName(static_cast<FinishReason>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kNumFinishReasons));
  EXPECT_STREQ(FinishReasonName(FinishReason::kStop), "stop");
  EXPECT_STREQ(FinishReasonName(FinishReason::kShutdown), "shutdown");
}

}  // namespace
}  // namespace quire
