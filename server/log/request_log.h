#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "server/log/logger.h"

namespace quire::server {

enum class LogRequests : uint8_t { kOff, kErrors, kAll };

// Where a call comes from. The names are the configuration's.
struct CallOrigin {
  std::string tenant;
  std::string key_id;    // of the API key that the call showed, if any
  std::string trace_id;  // of its trace header, if that is well formed
};

// What the log says of a call that has ended. Nothing that a client wrote but its request id and
// trace id.
struct RequestRecord {
  const char* service = "";     // full name of the one that it came to
  std::string request_id = {};  // printable; empty where there is none
  CallOrigin origin = {};
  absl::Status status = {};  // its message is not logged: it may quote the request

  // As far as they are known.
  std::optional<int32_t> prompt_tokens = {};
  std::optional<int32_t> cached_tokens = {};
  std::optional<int32_t> generated_tokens = {};
  std::optional<Duration> queue_time = {};
  std::optional<Duration> time_to_first_token = {};
  Duration total_time{};
};

// A call that may not be made.
struct UnauthenticatedCall {
  bool admin = false;
  std::string peer;  // address
  std::string trace_id;
  absl::Status status;
};

// What of the calls goes into the log, in bounds. Any thread.
class RequestLog {
 public:
  RequestLog(Logger* logger, LogRequests which) : logger_(logger), which_(which) {}

  void Ended(const RequestRecord& record) const;
  // Whatever is asked for.
  void Unauthenticated(const UnauthenticatedCall& call) const;

 private:
  Logger* const logger_;
  const LogRequests which_;
};

}  // namespace quire::server
