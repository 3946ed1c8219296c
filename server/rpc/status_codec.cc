#include "server/rpc/status_codec.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/text/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quire::server {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr char kErrorDomain[] = "quire";

// What clients accept of a message, cut at a code point.
std::string Shorten(absl::string_view message) {
  const std::string_view head(message.data(), std::min(message.size(), kMaxMessageBytes));
  const bool cut = head.size() < message.size();
  return std::string(cut ? head.substr(0, CompletePrefixLength(head)) : head);
}

google::rpc::RetryInfo EncodeRetry(Duration after) {
  google::rpc::RetryInfo info;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(after);
  info.mutable_retry_delay()->set_seconds(seconds.count());
  info.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(std::chrono::nanoseconds(after - seconds).count()));
  return info;
}

google::rpc::BadRequest EncodeField(const std::string& field, const std::string& message) {
  google::rpc::BadRequest request;
  google::rpc::BadRequest::FieldViolation* const violation = request.add_field_violations();
  violation->set_field(field);
  violation->set_description(message);
  return request;
}

// Whose limit it is that was reached.
google::rpc::QuotaFailure EncodeQuota(const std::string& reason, const std::string& message) {
  google::rpc::QuotaFailure failure;
  google::rpc::QuotaFailure::Violation* const violation = failure.add_violations();
  violation->set_subject(absl::StartsWith(reason, "TENANT_") ? "tenant" : "server");
  violation->set_description(message);
  return failure;
}

// google.rpc.Status as gRPC carries it; empty where there is nothing to add to code and message.
std::string EncodeDetails(const absl::Status& status, const std::string& message) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  if (!refusal.has_value()) return "";
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(refusal->reason);
  info.set_domain(kErrorDomain);
  details.add_details()->PackFrom(info);
  if (!refusal->field.empty()) {
    details.add_details()->PackFrom(EncodeField(refusal->field, message));
  }
  if (absl::IsResourceExhausted(status)) {
    details.add_details()->PackFrom(EncodeQuota(refusal->reason, message));
  }
  if (refusal->retry_after.has_value()) {
    details.add_details()->PackFrom(EncodeRetry(*refusal->retry_after));
  }
  return details.SerializeAsString();
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Shorten(status.message());
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      EncodeDetails(status, message));
}

std::optional<std::string> RetryPushback(const absl::Status& status) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  if (!refusal.has_value() || !refusal->retry_after.has_value()) return std::nullopt;
  return absl::StrCat(std::chrono::ceil<std::chrono::milliseconds>(*refusal->retry_after).count());
}

void AddRetryPushback(const absl::Status& status, grpc::CallbackServerContext* context) {
  if (const auto pushback = RetryPushback(status); pushback.has_value()) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", *pushback);
  }
}

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

}  // namespace quire::server
