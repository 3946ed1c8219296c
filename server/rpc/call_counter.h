#pragma once

#include <grpcpp/support/server_interceptor.h>

#include "server/metrics/grpc_metrics.h"

namespace quire::server {

// Counts every call of a server: see GrpcMetrics, which must outlive the server. One that gRPC
// itself refuses, as of a method that there is not, does not come here.
class CallCounterFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallCounterFactory(GrpcMetrics* metrics) : metrics_(metrics) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override;

 private:
  GrpcMetrics* const metrics_;
};

}  // namespace quire::server
