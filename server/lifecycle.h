#pragma once

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/engine/model_engine.h"
#include "server/auth/tenant_directory.h"
#include "server/live_streams.h"
#include "server/rpc/grpc_server.h"

namespace quire::server {

// Makes the engine and then the directory follow `config`; an error leaves both as they were.
// Running requests go on. On the main thread.
absl::StatusOr<TenantChanges> ApplyTenants(const TenantsConfig& config, Engine* engine,
                                           TenantDirectory* directory);

// Ends the service in order:
//   1. readiness turns NOT_SERVING, new requests are refused with UNAVAILABLE
//   2. running requests go on for up to `grace`; the engine ends the rest (EndGrace cuts this)
//   3. every stream gets its status; those whose client does not read are aborted
//   4. connections are closed and the gRPC server stops
// Every call gets exactly one status, always from us: gRPC's own shutdown would wait for ever for a
// reactor that has not finished. On the main thread, once.
void Drain(GrpcServer* server, ModelEngine* model, LiveStreams* streams, Duration grace);

}  // namespace quire::server
