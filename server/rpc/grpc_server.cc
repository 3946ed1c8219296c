#include "server/rpc/grpc_server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>

#include "core/base/status_macros.h"
#include "server/rpc/inference_service.h"
#include "server/rpc/start_server.h"

namespace quire::server {

GrpcServer::GrpcServer() = default;
GrpcServer::~GrpcServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Listen(const ServerConfig& config,
                                                               const GenerateServices& services) {
  auto result = std::unique_ptr<GrpcServer>(new GrpcServer());
  result->service_ = std::make_unique<InferenceService>(services);
  result->address_ = config.listen;
  QUIRE_ASSIGN_OR_RETURN(
      result->server_, StartServer(config, "--listen", result->service_.get(), &result->address_));
  result->server_->GetHealthCheckService()->SetServingStatus(
      v1::InferenceService::service_full_name(), true);
  return result;
}

void GrpcServer::SetNotServing() {
  server_->GetHealthCheckService()->SetServingStatus(v1::InferenceService::service_full_name(),
                                                     false);
}

void GrpcServer::Shutdown() {
  if (server_ != nullptr) ShutDown(server_.get());
}

}  // namespace quire::server
