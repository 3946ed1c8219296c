#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/listen_address.h"
#include "server/rpc/generate_reactor.h"

namespace grpc {
class Server;
}

namespace quire::server {

class InferenceService;

// The listening gRPC server: our service, the standard health service and, where configured,
// reflection. Health names: "" is the process, "quire.v1.InferenceService" readiness.
class GrpcServer {
 public:
  // Listens and serves from then on. Errors say which address could not be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Listen(const ServerConfig& config,
                                                            const GenerateServices& services);
  // As Shutdown.
  ~GrpcServer();

  // With the port that was bound.
  const ListenAddress& address() const { return address_; }

  // Tells health checks that this server takes no more requests.
  void SetNotServing();
  // Stops listening and ends all calls. Every Generate call must have ended before, as gRPC waits
  // for reactors without limit.
  void Shutdown();

 private:
  GrpcServer();

  ListenAddress address_;
  std::unique_ptr<InferenceService> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace quire::server
