#include "server/rpc/library_logs.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <string>
#include <string_view>

#include "server/log/logger.h"

namespace quire::server {
namespace {

constexpr size_t kMaxMessageBytes = 500;

void Relay(LogLevel level, const char* library, std::string_view message) {
  ProcessLog().LogBounded(level, message.substr(0, kMaxMessageBytes),
                          {{"library", std::string(library)}});
}

void OnGrpcLog(gpr_log_func_args* line) {
  const LogLevel level =
      line->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kError : LogLevel::kInfo;
  Relay(level, "grpc", line->message);
}

void OnProtobufLog(google::protobuf::LogLevel level, const char* /*file*/, int /*line*/,
                   const std::string& message) {
  const bool is_error = level >= google::protobuf::LOGLEVEL_ERROR;
  Relay(is_error ? LogLevel::kError : LogLevel::kWarning, "protobuf", message);
}

}  // namespace

void RouteLibraryLogs(LogFormat format) {
  if (format == LogFormat::kJson) gpr_set_log_function(&OnGrpcLog);
  google::protobuf::SetLogHandler(&OnProtobufLog);
}

}  // namespace quire::server
