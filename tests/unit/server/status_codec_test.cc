#include "server/rpc/status_codec.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/text/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quire::server {
namespace {

TEST(StatusCodecTest, EveryCodeKeepsItsMeaning) {
  const std::pair<absl::Status, grpc::StatusCode> cases[] = {
      {absl::OkStatus(), grpc::StatusCode::OK},
      {absl::CancelledError("m"), grpc::StatusCode::CANCELLED},
      {absl::InvalidArgumentError("m"), grpc::StatusCode::INVALID_ARGUMENT},
      {absl::DeadlineExceededError("m"), grpc::StatusCode::DEADLINE_EXCEEDED},
      {absl::NotFoundError("m"), grpc::StatusCode::NOT_FOUND},
      {absl::ResourceExhaustedError("m"), grpc::StatusCode::RESOURCE_EXHAUSTED},
      {absl::InternalError("m"), grpc::StatusCode::INTERNAL},
      {absl::UnavailableError("m"), grpc::StatusCode::UNAVAILABLE}};
  for (const auto& [status, code] : cases) {
    const grpc::Status result = ToGrpcStatus(status);
    EXPECT_EQ(result.error_code(), code) << status;
    EXPECT_EQ(result.error_message(), status.ok() ? "" : "m");
  }
}

TEST(StatusCodecTest, ALongMessageIsCutAtACodePoint) {
  std::string message(1023, 'x');
  message += "ä and more";
  const std::string result = ToGrpcStatus(absl::InternalError(message)).error_message();
  EXPECT_EQ(result, std::string(1023, 'x'));
  EXPECT_TRUE(IsValidUtf8(result));
}

TEST(StatusCodecTest, ARefusalTellsProgramsItsReasonAndWhenToComeBack) {
  const absl::Status status =
      Refuse(absl::StatusCode::kResourceExhausted, "full",
             {.reason = "QUEUE_FULL", .retry_after = std::chrono::milliseconds(2250)});
  const grpc::Status result = ToGrpcStatus(status);
  EXPECT_EQ(result.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(result.error_message(), "full");
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(result.error_details()));
  EXPECT_EQ(details.code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(details.message(), "full");
  ASSERT_EQ(details.details_size(), 3);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "quire");
  google::rpc::QuotaFailure quota;
  ASSERT_TRUE(details.details(1).UnpackTo(&quota));
  ASSERT_EQ(quota.violations_size(), 1);
  EXPECT_EQ(quota.violations(0).subject(), "server");
  EXPECT_EQ(quota.violations(0).description(), "full");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.details(2).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
  EXPECT_EQ(retry.retry_delay().nanos(), 250'000'000);
  EXPECT_EQ(RetryPushback(status), "2250");
}

TEST(StatusCodecTest, AFieldThatIsToBlameIsNamed) {
  const absl::Status status = InvalidField("top_k", " is 5; it must be 0");
  EXPECT_EQ(status.message(), "top_k is 5; it must be 0");
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ToGrpcStatus(status).error_details()));
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "INVALID_FIELD");
  google::rpc::BadRequest request;
  ASSERT_TRUE(details.details(1).UnpackTo(&request));
  ASSERT_EQ(request.field_violations_size(), 1);
  EXPECT_EQ(request.field_violations(0).field(), "top_k");
  EXPECT_EQ(request.field_violations(0).description(), status.message());
}

TEST(StatusCodecTest, ATenantsLimitIsToldFromTheServers) {
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ToGrpcStatus(Refuse(absl::StatusCode::kResourceExhausted, "m",
                                                          {.reason = "TENANT_QUEUE_FULL"}))
                                          .error_details()));
  google::rpc::QuotaFailure quota;
  ASSERT_TRUE(details.details(1).UnpackTo(&quota));
  EXPECT_EQ(quota.violations(0).subject(), "tenant");
}

// What every client's library looks for, by the numbers of the fields on the wire.
TEST(StatusCodecTest, TheDetailsAreTheBytesOfGoogleRpcStatus) {
  const auto field = [](const char* key, const std::string& bytes) {
    return absl::StrCat(key, std::string(1, static_cast<char>(bytes.size())), bytes);
  };
  const std::string info = absl::StrCat(field("\x0a", "R"), field("\x12", "quire"));
  const std::string any =
      absl::StrCat(field("\x0a", "type.googleapis.com/google.rpc.ErrorInfo"), field("\x12", info));
  EXPECT_EQ(
      ToGrpcStatus(Refuse(absl::StatusCode::kUnavailable, "m", {.reason = "R"})).error_details(),
      absl::StrCat("\x08\x0e", field("\x12", "m"), field("\x1a", any)));
}

TEST(StatusCodecTest, WaitingIsRoundedUpAndOnlySuggestedWhereItHelps) {
  const auto pushback = [](Duration after) {
    return RetryPushback(
        Refuse(absl::StatusCode::kUnavailable, "m", {.reason = "R", .retry_after = after}));
  };
  EXPECT_EQ(pushback(std::chrono::nanoseconds(1)), "1");
  EXPECT_EQ(pushback(Duration::zero()), "0");
  const absl::Status hopeless = Refuse(absl::StatusCode::kUnavailable, "m", {.reason = "R"});
  EXPECT_EQ(RetryPushback(hopeless), std::nullopt);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ToGrpcStatus(hopeless).error_details()));
  EXPECT_EQ(details.details_size(), 1);
  EXPECT_EQ(RetryPushback(absl::UnavailableError("m")), std::nullopt);
  EXPECT_EQ(ToGrpcStatus(absl::UnavailableError("m")).error_details(), "");
}

}  // namespace
}  // namespace quire::server
