#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/listen_address.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace quire::server {

// A service that listens on an address of its own, with the standard health service and, where
// configured, TLS and reflection. Health names: "" is the process, the service's full name
// readiness.
class GrpcServer {
 public:
  // Where it listens: a flag's name, for errors, and its value.
  struct Place {
    const char* flag = nullptr;
    ListenAddress address;
    bool plaintext = false;  // even where TLS is configured
  };
  // Listens and serves from then on; without a `service`, health alone. Errors say which address
  // could not be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Listen(const ServerConfig& config, Place place,
                                                            std::string service_name,
                                                            std::unique_ptr<grpc::Service> service);
  // As Shutdown.
  ~GrpcServer();

  // With the port that was bound.
  const ListenAddress& address() const { return address_; }

  // Tells health checks that the service takes no more requests.
  void SetNotServing();
  // Stops listening and ends all calls; those that end by themselves get half a second. Every
  // Generate call must have ended before, as gRPC waits for reactors without limit.
  void Shutdown();

 private:
  GrpcServer(ListenAddress address, std::string service_name,
             std::unique_ptr<grpc::Service> service);

  ListenAddress address_;
  const std::string service_name_;
  const std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace quire::server
