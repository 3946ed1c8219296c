#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
}  // namespace grpc

namespace quire::server {

// The status a client gets. Codes keep their meaning (proto/README.md); the message is cut to what
// fits beside other metadata in the 8 KiB that clients accept.
// A refusal's reason goes along as google.rpc.ErrorInfo, with the domain "quire"; a field that is
// to blame as BadRequest, a limit that was reached as QuotaFailure, and when to come back as
// RetryInfo.
grpc::Status ToGrpcStatus(const absl::Status& status);

// What has gRPC's own retries wait, in milliseconds; nullopt unless the status is a refusal that
// says when to come back.
std::optional<std::string> RetryPushback(const absl::Status& status);
// Adds that to the trailing metadata. Before the status goes out.
void AddRetryPushback(const absl::Status& status, grpc::CallbackServerContext* context);

// Ends a call that is answered at once.
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                 const absl::Status& status = absl::OkStatus());

}  // namespace quire::server
