#include "server/log/request_log.h"

#include <chrono>
#include <string_view>

#include "core/base/refusal.h"

namespace quire::server {
namespace {

double Milliseconds(Duration duration) {
  const auto us = std::chrono::round<std::chrono::microseconds>(duration).count();
  return static_cast<double>(us) / 1e3;
}

void AddText(const char* name, std::string_view text, LogFields* fields) {
  if (!text.empty()) fields->push_back({name, std::string(text)});
}

void AddCount(const char* name, std::optional<int32_t> count, LogFields* fields) {
  if (count.has_value()) fields->push_back({name, int64_t{*count}});
}

void AddTime(const char* name, std::optional<Duration> time, LogFields* fields) {
  if (time.has_value()) fields->push_back({name, Milliseconds(*time)});
}

void AddStatus(const absl::Status& status, LogFields* fields) {
  fields->push_back({"code", absl::StatusCodeToString(status.code())});
  if (const std::optional<Refusal> refusal = RefusalOf(status); refusal.has_value()) {
    AddText("reason", refusal->reason, fields);
  }
}

}  // namespace

void RequestLog::Ended(const RequestRecord& record) const {
  if (which_ == LogRequests::kOff) return;
  if (which_ == LogRequests::kErrors && record.status.ok()) return;
  LogFields fields;
  AddText("service", record.service, &fields);
  AddText("request_id", record.request_id, &fields);
  AddText("tenant", record.origin.tenant, &fields);
  AddText("key_id", record.origin.key_id, &fields);
  AddText("trace_id", record.origin.trace_id, &fields);
  AddStatus(record.status, &fields);
  AddCount("prompt_tokens", record.prompt_tokens, &fields);
  AddCount("cached_tokens", record.cached_tokens, &fields);
  AddCount("generated_tokens", record.generated_tokens, &fields);
  AddTime("queue_ms", record.queue_time, &fields);
  AddTime("ttft_ms", record.time_to_first_token, &fields);
  AddTime("total_ms", record.total_time, &fields);
  logger_->LogBounded(LogLevel::kInfo, "request ended", fields);
}

void RequestLog::Unauthenticated(const UnauthenticatedCall& call) const {
  LogFields fields;
  AddText("peer", call.peer, &fields);
  AddText("trace_id", call.trace_id, &fields);
  AddStatus(call.status, &fields);
  logger_->LogBounded(LogLevel::kWarning,
                      call.admin ? "admin call not authenticated" : "call not authenticated",
                      fields);
}

}  // namespace quire::server
