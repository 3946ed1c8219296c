#include "server/log/logger.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>

#include "absl/time/clock.h"

namespace quire::server {
namespace {

constexpr int kMaxWaitMs = 1000;

Logger*& ProcessLogPlace() {
  static Logger* logger = new Logger(LogOptions());
  return logger;
}

}  // namespace

Logger::Logger(const LogOptions& options) : options_(options), budget_(options.lines_per_second) {}

void Logger::Log(LogLevel level, std::string_view message, const LogFields& fields) {
  ++counts_[static_cast<size_t>(level)];
  const std::string line = FormatLogLine(options_.format, absl::Now(), level, message, fields);
  MutexLock lock(&mu_);
  WriteLocked(line, kMaxWaitMs);
}

void Logger::LogBounded(LogLevel level, std::string_view message, const LogFields& fields) {
  ++counts_[static_cast<size_t>(level)];
  const std::string line = FormatLogLine(options_.format, absl::Now(), level, message, fields);
  MutexLock lock(&mu_);
  if (budget_.Take(std::chrono::steady_clock::now())) WriteLocked(line, 0);
}

void Logger::WriteLocked(const std::string& line, int wait_ms) {
  if (const int64_t left_out = budget_.TakeLeftOut(); left_out > 0) {
    const std::string count = FormatLogLine(options_.format, absl::Now(), LogLevel::kWarning,
                                            "log lines were left out", {{"left_out", left_out}});
    if (!TryWriteLocked(count, wait_ms)) {
      budget_.LeaveOut(left_out + 1);
      return;
    }
  }
  if (!TryWriteLocked(line, wait_ms)) budget_.LeaveOut(1);
}

// A pipe that is ready has room for PIPE_BUF bytes, so writing those does not wait.
bool Logger::TryWriteLocked(std::string_view line, int wait_ms) const {
  while (!line.empty()) {
    pollfd wanted = {.fd = options_.fd, .events = POLLOUT, .revents = 0};
    if (poll(&wanted, 1, wait_ms) != 1 || (wanted.revents & POLLOUT) == 0) return false;
    const ssize_t written =
        write(options_.fd, line.data(), std::min<size_t>(line.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) line.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

Logger& ProcessLog() { return *ProcessLogPlace(); }

void SetUpProcessLog(const LogOptions& options) {
  delete ProcessLogPlace();
  ProcessLogPlace() = new Logger(options);
}

}  // namespace quire::server
