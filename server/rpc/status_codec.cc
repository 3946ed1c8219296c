#include "server/rpc/status_codec.h"

#include <chrono>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "core/text/utf8.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace quire::server {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr char kErrorDomain[] = "quire";
constexpr size_t kMaxQuotedBytes = 64;

std::string_view CutAtCodePoint(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  text = text.substr(0, max_bytes);
  return text.substr(0, CompletePrefixLength(text));
}

google::rpc::RetryInfo EncodeRetry(Duration after) {
  google::rpc::RetryInfo info;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(after);
  info.mutable_retry_delay()->set_seconds(seconds.count());
  info.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(std::chrono::nanoseconds(after - seconds).count()));
  return info;
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
  if (refusal->retry_after.has_value()) {
    details.add_details()->PackFrom(EncodeRetry(*refusal->retry_after));
  }
  return details.SerializeAsString();
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::string_view whole = status.message();
  const std::string message(
      CutAtCodePoint(std::string_view(whole.data(), whole.size()), kMaxMessageBytes));
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      EncodeDetails(status, message));
}

std::optional<std::string> RetryPushback(const absl::Status& status) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  if (!refusal.has_value() || !refusal->retry_after.has_value()) return std::nullopt;
  return absl::StrCat(std::chrono::ceil<std::chrono::milliseconds>(*refusal->retry_after).count());
}

std::string Quoted(std::string_view text) {
  const std::string_view cut = CutAtCodePoint(text, kMaxQuotedBytes);
  return absl::StrCat("'", absl::Utf8SafeCEscape(absl::string_view(cut.data(), cut.size())),
                      cut.size() < text.size() ? "..." : "", "'");
}

}  // namespace quire::server
