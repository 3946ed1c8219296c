#pragma once

#include <grpcpp/impl/service_type.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/connection_acceptor.h"
#include "server/listen_address.h"
#include "server/metrics/grpc_metrics.h"
#include "server/metrics/server_counters.h"

namespace grpc {
class Server;
namespace experimental {
class ExternalConnectionAcceptor;
}  // namespace experimental
}  // namespace grpc

namespace quire::server {

inline constexpr char kLivenessName[] = "liveness";

// Services that share a listener, with the standard health service and, where configured, TLS and
// reflection. Health names: "" is the process, each service's full name readiness, and
// kLivenessName whether the process gets anywhere.
class GrpcServer {
 public:
  struct Service {
    std::string name;                             // its full name
    std::unique_ptr<grpc::Service> service = {};  // null: only health checks know the name
  };
  // Where it listens: a flag's name, for errors, and its value.
  struct Place {
    const char* flag = nullptr;
    ListenAddress address;
    bool plaintext = false;  // even where TLS is configured
    int32_t max_connections = 0;
    ServerCounters* counters = nullptr;  // of those beyond; outlives the server
    GrpcMetrics* metrics = nullptr;      // of its calls; outlives the server
  };
  // Listens and serves from then on. Errors say which address could not be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Listen(const ServerConfig& config, Place place,
                                                            std::vector<Service> services);
  // As Shutdown.
  ~GrpcServer();

  // With the port that was bound.
  const ListenAddress& address() const { return acceptor_->address(); }
  std::vector<std::string> ServiceNames() const;

  // Tells health checks that the services take no more requests.
  void SetNotServing();
  // Tells them whether the process gets anywhere. Any thread.
  void SetLive(bool live);
  // Stops listening and cuts all connections, once nothing is left to be sent. To those of gRPC's
  // own shutdown clients may still send calls, which it then cancels: a status that nobody retries.
  // A connection that is gone is UNAVAILABLE.
  void CutConnections();
  // Stops listening and ends all calls; those that end by themselves get half a second. Every
  // Generate call must have ended before, as gRPC waits for reactors without limit.
  void Shutdown();

 private:
  explicit GrpcServer(std::vector<Service> services);

  void SetServing(bool serving);
  void StartAccepting();

  const std::vector<Service> services_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;  // of server_
  std::unique_ptr<ConnectionAcceptor> acceptor_;  // last: it hands them over
};

}  // namespace quire::server
