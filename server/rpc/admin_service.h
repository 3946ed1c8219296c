#pragma once

#include "core/engine/engine.h"
#include "core/engine/model_engine.h"
#include "quire/v1/admin.grpc.pb.h"
#include "server/auth/tenant_directory.h"
#include "server/log/request_log.h"
#include "server/server_signals.h"

namespace quire::server {

// What the admin service tells of and acts on. It owns none of it; all outlives its server.
struct AdminServices {
  Engine* engine = nullptr;
  const ModelEngine* model = nullptr;
  const TenantDirectory* tenants = nullptr;
  ServerSignals* signals = nullptr;
  const RequestLog* log = nullptr;
};

// The RPCs of quire.v1.AdminService, for those whom the tenant directory lets in. Each answers at
// once, on gRPC's callback threads, but for
// CheckInvariants: it answers between two steps, on the engine's. Stateless; any thread.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  explicit AdminService(const AdminServices& services) : services_(services) {}

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context,
                                    const v1::GetLoadRequest* request,
                                    v1::GetLoadResponse* response) override;
  grpc::ServerUnaryReactor* ListTenants(grpc::CallbackServerContext* context,
                                        const v1::ListTenantsRequest* request,
                                        v1::ListTenantsResponse* response) override;
  grpc::ServerUnaryReactor* GetTenantUsage(grpc::CallbackServerContext* context,
                                           const v1::GetTenantUsageRequest* request,
                                           v1::GetTenantUsageResponse* response) override;
  grpc::ServerUnaryReactor* FlushPrefixCache(grpc::CallbackServerContext* context,
                                             const v1::FlushPrefixCacheRequest* request,
                                             v1::FlushPrefixCacheResponse* response) override;
  grpc::ServerUnaryReactor* CheckInvariants(grpc::CallbackServerContext* context,
                                            const v1::CheckInvariantsRequest* request,
                                            v1::CheckInvariantsResponse* response) override;
  grpc::ServerUnaryReactor* PlanCapacity(grpc::CallbackServerContext* context,
                                         const v1::PlanCapacityRequest* request,
                                         v1::PlanCapacityResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;

 private:
  // Ends the call of who may not make it; else null. The first line of every RPC.
  grpc::ServerUnaryReactor* Refused(grpc::CallbackServerContext* context) const;

  const AdminServices services_;
};

}  // namespace quire::server
