#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/auth/tenant_directory.h"

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace quire::server {

// Who makes a call, told from its own metadata and from the certificate of its connection's client.
// Nothing is kept with the connection: what one call shows says nothing of the next.

// Whose it is; Unauthenticated where it may not call.
absl::StatusOr<Caller> FindCaller(const TenantDirectory& tenants,
                                  const grpc::CallbackServerContext& context);

// Whether it may use the admin service; else Unauthenticated.
absl::Status CheckAdminCall(const TenantDirectory& tenants,
                            const grpc::CallbackServerContext& context);

// The trace id that it came with; empty without a well formed one.
std::string FindTraceId(const grpc::CallbackServerContext& context);

}  // namespace quire::server
