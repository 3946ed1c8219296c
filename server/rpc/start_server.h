#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/listen_address.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace quire::server {

// Serves `service` on `address` within the configured bounds, with the standard health service and,
// where configured, reflection. Puts the port that was bound into `address`. Errors name `flag`,
// which the address is from. `service` must outlive the result.
absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(const ServerConfig& config,
                                                          const char* flag, grpc::Service* service,
                                                          ListenAddress* address);

// What calls that end by themselves get to do so.
void ShutDown(grpc::Server* server);

}  // namespace quire::server
