#include "core/base/ids.h"

#include <type_traits>

#include "absl/container/flat_hash_map.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

static_assert(!std::is_convertible_v<uint64_t, RequestId>, "a number is no id by accident");
static_assert(!std::is_convertible_v<RequestId, SequenceId>, "ids do not mix");
static_assert(!std::is_constructible_v<BlockId, SequenceId>, "ids do not mix");

TEST(IdsTest, CompareByValue) {
  EXPECT_EQ(StepId(3), StepId(3));
  EXPECT_NE(StepId(3), StepId(4));
  EXPECT_LT(StepId(3), StepId(4));
  EXPECT_EQ(StepId().value(), 0u);
}

TEST(IdsTest, AreKeysOfAHashMap) {
  absl::flat_hash_map<RequestId, int> values;
  for (uint64_t i = 0; i < 100; ++i) values[RequestId(i)] = static_cast<int>(i);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(values.at(RequestId(i)), static_cast<int>(i));
  EXPECT_FALSE(values.contains(RequestId(100)));
}

}  // namespace
}  // namespace quire
