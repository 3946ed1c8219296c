#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/listen_address.h"
#include "server/rpc/admin_service.h"

namespace grpc {
class Server;
}

namespace quire::server {

// The listener of --admin-listen. It goes on through a drain, to say how that goes.
class AdminServer {
 public:
  // Listens on config.admin_listen, which must be there, and serves from then on. Errors say which
  // address could not be bound.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Listen(const ServerConfig& config,
                                                             const AdminServices& services);
  // Stops listening and ends all calls.
  ~AdminServer();

  // With the port that was bound.
  const ListenAddress& address() const { return address_; }

 private:
  explicit AdminServer(const AdminServices& services);

  ListenAddress address_;
  AdminService service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace quire::server
