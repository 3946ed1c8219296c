#include "server/rpc/call_identity.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/server_context.h>

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/log/trace_context.h"

namespace quire::server {
namespace {

std::vector<absl::string_view> MetadataValues(const grpc::CallbackServerContext& context,
                                              absl::string_view key) {
  const auto [begin, end] =
      context.client_metadata().equal_range(grpc::string_ref(key.data(), key.size()));
  std::vector<absl::string_view> values;
  for (auto it = begin; it != end; ++it) {
    values.emplace_back(it->second.data(), it->second.size());
  }
  return values;
}

// The listener verifies whatever certificate a client shows, so what is there holds.
std::vector<std::string> CertificateNames(const grpc::CallbackServerContext& context) {
  std::vector<std::string> names;
  const auto peer = context.auth_context();
  for (const grpc::string_ref& uri : peer->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    names.emplace_back(uri.data(), uri.size());
  }
  for (const grpc::string_ref& dns : peer->FindPropertyValues(GRPC_PEER_DNS_PROPERTY_NAME)) {
    names.push_back(absl::StrCat("dns:", absl::string_view(dns.data(), dns.size())));
  }
  return names;
}

template <typename Ask>
auto WithCredentials(const grpc::CallbackServerContext& context, Ask ask) {
  const auto metadata = [&](absl::string_view key) { return MetadataValues(context, key); };
  const auto names = [&] { return CertificateNames(context); };
  return ask(CallCredentials{.metadata = metadata, .certificate_names = names}, absl::Now());
}

}  // namespace

absl::StatusOr<Caller> FindCaller(const TenantDirectory& tenants,
                                  const grpc::CallbackServerContext& context) {
  return WithCredentials(context, [&](const CallCredentials& call, absl::Time now) {
    return tenants.Resolve(call, now);
  });
}

absl::Status CheckAdminCall(const TenantDirectory& tenants,
                            const grpc::CallbackServerContext& context) {
  return WithCredentials(context, [&](const CallCredentials& call, absl::Time now) {
    return tenants.CheckAdmin(call, now);
  });
}

std::string FindTraceId(const grpc::CallbackServerContext& context) {
  const std::vector<absl::string_view> headers = MetadataValues(context, "traceparent");
  if (headers.size() != 1) return "";
  return std::string(TraceIdOf({headers[0].data(), headers[0].size()}).value_or(""));
}

}  // namespace quire::server
