#include "core/text/split_behavior.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quire {
namespace {

using Pieces = std::vector<std::string>;

Pieces Split(std::string_view text, SplitBehavior behavior, bool invert) {
  const auto regex = SplitRegex::Compile("-");
  EXPECT_TRUE(regex.ok());
  Pieces pieces;
  const absl::Status status =
      SplitText(text, *regex, behavior, invert, [&](std::string_view piece) {
        pieces.emplace_back(piece);
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return pieces;
}

struct Case {
  SplitBehavior behavior;
  bool invert;
  Pieces inner;  // of "a--b-c"
  Pieces outer;  // of "--a-"
};

// What the `tokenizers` library 0.23 gives.
TEST(SplitBehaviorTest, EachBehaviorTreatsMatchesAsItsNameSays) {
  using B = SplitBehavior;
  for (const Case& test : std::initializer_list<Case>{
           {B::kIsolated, false, {"a", "-", "-", "b", "-", "c"}, {"-", "-", "a", "-"}},
           {B::kIsolated, true, {"a", "-", "-", "b", "-", "c"}, {"-", "-", "a", "-"}},
           {B::kRemoved, false, {"a", "b", "c"}, {"a"}},
           {B::kRemoved, true, {"-", "-", "-"}, {"-", "-", "-"}},
           {B::kContiguous, false, {"a", "--", "b", "-", "c"}, {"--", "a", "-"}},
           {B::kContiguous, true, {"a", "--", "b", "-", "c"}, {"--", "a", "-"}},
           {B::kMergedWithPrevious, false, {"a-", "-", "b-", "c"}, {"-", "-", "a-"}},
           {B::kMergedWithPrevious, true, {"a", "-", "-b", "-c"}, {"-", "-a", "-"}},
           {B::kMergedWithNext, false, {"a", "-", "-b", "-c"}, {"-", "-a", "-"}},
           {B::kMergedWithNext, true, {"a-", "-", "b-", "c"}, {"-", "-", "a-"}},
       }) {
    SCOPED_TRACE(::testing::Message() << static_cast<int>(test.behavior) << " " << test.invert);
    EXPECT_EQ(Split("a--b-c", test.behavior, test.invert), test.inner);
    EXPECT_EQ(Split("--a-", test.behavior, test.invert), test.outer);
    EXPECT_EQ(Split("", test.behavior, test.invert), Pieces());
  }
}

}  // namespace
}  // namespace quire
