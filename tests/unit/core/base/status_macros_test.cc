#include "core/base/status_macros.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace quire {
namespace {

absl::Status PassOn(absl::Status status, bool* reached) {
  QUIRE_RETURN_IF_ERROR(std::move(status));
  *reached = true;
  return absl::OkStatus();
}

absl::StatusOr<int> SumOf(absl::StatusOr<std::unique_ptr<int>> a,
                          absl::StatusOr<std::unique_ptr<int>> b) {
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<int> first, std::move(a));
  QUIRE_ASSIGN_OR_RETURN(const std::unique_ptr<int> second, std::move(b));
  return *first + *second;
}

TEST(StatusMacrosTest, AnErrorReturnsAtOnceAndUnchanged) {
  bool reached = false;
  EXPECT_EQ(PassOn(absl::DataLossError("torn"), &reached), absl::DataLossError("torn"));
  EXPECT_FALSE(reached);
}

TEST(StatusMacrosTest, OkGoesOn) {
  bool reached = false;
  EXPECT_TRUE(PassOn(absl::OkStatus(), &reached).ok());
  EXPECT_TRUE(reached);
}

TEST(StatusMacrosTest, AssignMovesTheValueOut) {
  const absl::StatusOr<int> sum = SumOf(std::make_unique<int>(2), std::make_unique<int>(3));
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(*sum, 5);
}

TEST(StatusMacrosTest, AssignReturnsTheFirstError) {
  EXPECT_EQ(SumOf(absl::NotFoundError("a"), absl::NotFoundError("b")).status(),
            absl::NotFoundError("a"));
  EXPECT_EQ(SumOf(std::make_unique<int>(2), absl::NotFoundError("b")).status(),
            absl::NotFoundError("b"));
}

TEST(StatusMacrosTest, TheExpressionIsEvaluatedOnce) {
  int evaluated = 0;
  const auto run = [&evaluated]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR((++evaluated, absl::OkStatus()));
    return absl::OkStatus();
  };
  EXPECT_TRUE(run().ok());
  EXPECT_EQ(evaluated, 1);
}

}  // namespace
}  // namespace quire
