#include "server/rpc/status_codec.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/text/utf8.h"

namespace quire::server {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxQuotedBytes = 64;

std::string_view CutAtCodePoint(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  text = text.substr(0, max_bytes);
  return text.substr(0, CompletePrefixLength(text));
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::string_view message = status.message();
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(CutAtCodePoint(std::string_view(message.data(), message.size()),
                                                 kMaxMessageBytes)));
}

std::string Quoted(std::string_view text) {
  const std::string_view cut = CutAtCodePoint(text, kMaxQuotedBytes);
  return absl::StrCat("'", absl::Utf8SafeCEscape(absl::string_view(cut.data(), cut.size())),
                      cut.size() < text.size() ? "..." : "", "'");
}

}  // namespace quire::server
