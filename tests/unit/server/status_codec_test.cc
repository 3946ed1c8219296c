#include "server/rpc/status_codec.h"

#include <gtest/gtest.h>

#include "core/text/utf8.h"

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

TEST(StatusCodecTest, QuotedTextIsShortAndPrintable) {
  EXPECT_EQ(Quoted("abc"), "'abc'");
  EXPECT_EQ(Quoted("a\nb"), "'a\\nb'");
  EXPECT_EQ(Quoted(std::string(1000, 'x')), "'" + std::string(64, 'x') + "...'");
}

}  // namespace
}  // namespace quire::server
