#include "server/log/request_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/base/refusal.h"

namespace quire::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What is logged of `record`, as JSON; null where nothing is.
class RequestLogTest : public ::testing::Test {
 protected:
  RequestLogTest() : file_(memfd_create("log", MFD_CLOEXEC)) {}
  ~RequestLogTest() override { close(file_); }

  std::string Written() const {
    std::string text(static_cast<size_t>(lseek(file_, 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(file_, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return text;
  }

  int file_;
  Logger logger_{{.format = LogFormat::kJson, .fd = file_}};
};

RequestRecord Refused() {
  return {.service = "quire.v1.InferenceService",
          .request_id = "their \"id\"",
          .origin = {.tenant = "acme",
                     .key_id = "key-1",
                     .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"},
          .status = Refuse(absl::StatusCode::kResourceExhausted, "the prompt \"canary\" must wait",
                           {.reason = "QUEUE_FULL"}),
          .total_time = std::chrono::microseconds(1500)};
}

TEST_F(RequestLogTest, ARefusalHasItsReasonAndNotItsMessage) {
  RequestLog(&logger_, LogRequests::kErrors).Ended(Refused());
  EXPECT_THAT(Written(), Not(HasSubstr("canary")));
  auto line = nlohmann::json::parse(Written());
  EXPECT_EQ(line["level"], "info");
  line.erase("ts");
  line.erase("level");
  EXPECT_EQ(line, nlohmann::json({{"msg", "request ended"},
                                  {"service", "quire.v1.InferenceService"},
                                  {"request_id", "their \"id\""},
                                  {"tenant", "acme"},
                                  {"key_id", "key-1"},
                                  {"trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"},
                                  {"code", "RESOURCE_EXHAUSTED"},
                                  {"reason", "QUEUE_FULL"},
                                  {"total_ms", 1.5}}));
}

TEST_F(RequestLogTest, AnAnswerHasItsCountsAndTimes) {
  RequestRecord record;
  record.service = "s";
  record.prompt_tokens = 12;
  record.cached_tokens = 0;
  record.generated_tokens = 34;
  record.queue_time = std::chrono::microseconds(1);
  record.time_to_first_token = std::chrono::milliseconds(20);
  record.total_time = std::chrono::seconds(2);
  RequestLog(&logger_, LogRequests::kAll).Ended(record);
  auto line = nlohmann::json::parse(Written());
  line.erase("ts");
  EXPECT_EQ(line, nlohmann::json({{"msg", "request ended"},
                                  {"level", "info"},
                                  {"service", "s"},
                                  {"code", "OK"},
                                  {"prompt_tokens", 12},
                                  {"cached_tokens", 0},
                                  {"generated_tokens", 34},
                                  {"queue_ms", 0.001},
                                  {"ttft_ms", 20.0},
                                  {"total_ms", 2000.0}}));
}

TEST_F(RequestLogTest, OnlyWhatIsAskedForIsLogged) {
  const RequestRecord answered{.service = "s"};
  RequestLog(&logger_, LogRequests::kErrors).Ended(answered);
  RequestLog(&logger_, LogRequests::kOff).Ended(answered);
  RequestLog(&logger_, LogRequests::kOff).Ended(Refused());
  EXPECT_EQ(Written(), "");
}

TEST_F(RequestLogTest, WhoMayNotCallIsAlwaysLogged) {
  RequestLog(&logger_, LogRequests::kOff)
      .Unauthenticated({.admin = false,
                        .peer = "ipv4:10.0.0.1:5",
                        .trace_id = "",
                        .status = Refuse(absl::StatusCode::kUnauthenticated, "canary",
                                         {.reason = "API_KEY_UNKNOWN"})});
  auto line = nlohmann::json::parse(Written());
  line.erase("ts");
  EXPECT_EQ(line, nlohmann::json({{"level", "warning"},
                                  {"msg", "call not authenticated"},
                                  {"peer", "ipv4:10.0.0.1:5"},
                                  {"code", "UNAUTHENTICATED"},
                                  {"reason", "API_KEY_UNKNOWN"}}));
}

}  // namespace
}  // namespace quire::server
