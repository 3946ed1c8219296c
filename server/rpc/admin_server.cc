#include "server/rpc/admin_server.h"

#include <grpcpp/server.h>

#include "core/base/status_macros.h"
#include "server/rpc/start_server.h"

namespace quire::server {

AdminServer::AdminServer(const AdminServices& services) : service_(services) {}

AdminServer::~AdminServer() {
  if (server_ != nullptr) ShutDown(server_.get());
}

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Listen(const ServerConfig& config,
                                                                 const AdminServices& services) {
  auto result = std::unique_ptr<AdminServer>(new AdminServer(services));
  result->address_ = *config.admin_listen;
  QUIRE_ASSIGN_OR_RETURN(
      result->server_, StartServer(config, "--admin-listen", &result->service_, &result->address_));
  return result;
}

}  // namespace quire::server
