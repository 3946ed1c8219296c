#include "core/base/refusal.h"

#include <chrono>

#include "gtest/gtest.h"

namespace quire {
namespace {

TEST(RefusalTest, TravelsInTheStatus) {
  const absl::Status status =
      Refuse(absl::StatusCode::kResourceExhausted, "the queue is full",
             {.reason = "QUEUE_FULL", .retry_after = std::chrono::milliseconds(1500)});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "the queue is full");
  const auto refusal = RefusalOf(status);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->reason, "QUEUE_FULL");
  EXPECT_EQ(refusal->retry_after, std::chrono::milliseconds(1500));
}

TEST(RefusalTest, WhatNeverFitsIsNotToBeRetried) {
  const auto refusal =
      RefusalOf(Refuse(absl::StatusCode::kInvalidArgument, "too long", {.reason = "TOO_LONG"}));
  ASSERT_TRUE(refusal.has_value());
  EXPECT_FALSE(refusal->retry_after.has_value());
}

TEST(RefusalTest, OtherStatusesHaveNone) {
  EXPECT_FALSE(RefusalOf(absl::OkStatus()).has_value());
  EXPECT_FALSE(RefusalOf(absl::InternalError("x")).has_value());
}

}  // namespace
}  // namespace quire
