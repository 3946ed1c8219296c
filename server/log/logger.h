#pragma once

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "core/base/mutex.h"
#include "server/log/line_budget.h"
#include "server/log/log_line.h"

namespace quire::server {

struct LogOptions {
  LogFormat format = LogFormat::kText;
  int32_t lines_per_second = 100;  // see LogBounded
  int fd = STDERR_FILENO;
};

// Writes lines. Whoever reads them may stand still: then they are left out and counted, as nobody
// may wait for that. The next line to go out says how many. Any thread.
class Logger {
 public:
  explicit Logger(const LogOptions& options);

  // Waits for a reader, but no longer than a second.
  void Log(LogLevel level, std::string_view message, const LogFields& fields = {});
  void Info(std::string_view message) { Log(LogLevel::kInfo, message); }
  // For what clients cause: waits for nobody, and is left out beyond so many lines a second, lest
  // they fill the disk.
  void LogBounded(LogLevel level, std::string_view message, const LogFields& fields);

  LogFormat format() const { return options_.format; }
  // Lines so far, those that were left out too.
  uint64_t Count(LogLevel level) const { return counts_[static_cast<size_t>(level)]; }

 private:
  void WriteLocked(const std::string& line, int wait_ms) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // False where the reader stands still, or there is none.
  bool TryWriteLocked(std::string_view line, int wait_ms) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const LogOptions options_;
  std::array<std::atomic<uint64_t>, kNumLogLevels> counts_{};
  Mutex mu_;  // one line at a time
  LineBudget budget_ ABSL_GUARDED_BY(mu_);
};

// The process's log, on stderr: text, until main has called SetUpProcessLog, which it does once and
// before there are other threads. It is never destroyed, as gRPC's threads may be the last to end.
Logger& ProcessLog();
void SetUpProcessLog(const LogOptions& options);

}  // namespace quire::server
