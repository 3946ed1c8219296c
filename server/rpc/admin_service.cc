#include "server/rpc/admin_service.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/text/quoted.h"
#include "server/auth/tenant_file.h"
#include "server/rpc/call_identity.h"
#include "server/rpc/capacity_codec.h"
#include "server/rpc/status_codec.h"

namespace quire::server {

grpc::ServerUnaryReactor* AdminService::Refused(grpc::CallbackServerContext* context) const {
  const absl::Status status = CheckAdminCall(*services_.tenants, *context);
  if (status.ok()) return nullptr;
  services_.log->Unauthenticated({.admin = true,
                                  .peer = context->peer(),
                                  .trace_id = FindTraceId(*context),
                                  .status = status});
  return Answer(context, status);
}

grpc::ServerUnaryReactor* AdminService::GetLoad(grpc::CallbackServerContext* context,
                                                const v1::GetLoadRequest* /*request*/,
                                                v1::GetLoadResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  const EngineStats stats = services_.engine->Stats();
  response->set_waiting_requests(static_cast<uint32_t>(stats.waiting));
  response->set_waiting_tokens(static_cast<uint64_t>(stats.waiting_tokens));
  response->set_running_requests(static_cast<uint32_t>(stats.running));
  uint64_t used = 0;
  uint64_t cached = 0;
  for (const KvClassSnapshot& blocks : stats.kv.classes) {
    used += static_cast<uint64_t>(blocks.active_blocks + blocks.fenced_blocks) * blocks.block_bytes;
    cached += static_cast<uint64_t>(blocks.cached_blocks) * blocks.block_bytes;
  }
  response->set_kv_used_bytes(used);
  response->set_kv_cached_bytes(cached);
  response->set_kv_total_bytes(stats.kv.arena_bytes);
  response->set_draining(services_.signals->ending());
  return Answer(context);
}

grpc::ServerUnaryReactor* AdminService::ListTenants(grpc::CallbackServerContext* context,
                                                    const v1::ListTenantsRequest* /*request*/,
                                                    v1::ListTenantsResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  const TenantRoster roster = services_.tenants->roster();
  for (const TenantRoster::Entry& entry : roster.entries) {
    v1::Tenant* const tenant = response->add_tenants();
    tenant->set_id(static_cast<uint32_t>(response->tenants_size() - 1));
    tenant->set_configured(entry.configured);
    *tenant->mutable_config() = EncodeTenant(entry.settings);
  }
  return Answer(context);
}

grpc::ServerUnaryReactor* AdminService::GetTenantUsage(grpc::CallbackServerContext* context,
                                                       const v1::GetTenantUsageRequest* /*request*/,
                                                       v1::GetTenantUsageResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  for (const TenantStats& stats : services_.engine->Tenants()) {
    v1::TenantUsage* const usage = response->add_tenants();
    usage->set_id(static_cast<uint32_t>(response->tenants_size() - 1));
    usage->set_name(stats.name);
    usage->set_waiting_requests(static_cast<uint32_t>(stats.load.waiting));
    usage->set_waiting_tokens(static_cast<uint64_t>(stats.load.waiting_tokens));
    usage->set_running_requests(static_cast<uint32_t>(stats.load.running));
    usage->set_kv_bytes(static_cast<uint64_t>(stats.load.kv_bytes));
    usage->set_accepted_requests(stats.accepted);
    usage->set_rejected_requests(stats.rejected);
    usage->set_prompt_tokens(stats.prompt_tokens);
    usage->set_cached_tokens(stats.cached_tokens);
    usage->set_generated_tokens(stats.generated_tokens);
    usage->set_preemptions(stats.load.preempted);
  }
  return Answer(context);
}

grpc::ServerUnaryReactor* AdminService::FlushPrefixCache(
    grpc::CallbackServerContext* context, const v1::FlushPrefixCacheRequest* request,
    v1::FlushPrefixCacheResponse* /*response*/) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  if (!request->has_tenant()) {
    return Answer(context, services_.engine->FlushPrefixes(std::nullopt));
  }
  const std::optional<TenantId> tenant = services_.tenants->Find(request->tenant());
  if (tenant.has_value()) return Answer(context, services_.engine->FlushPrefixes(tenant));
  return Answer(context, absl::NotFoundError(
                             absl::StrCat("the server knows no tenant ", Quoted(request->tenant()),
                                          "; ListTenants names those that it knows")));
}

grpc::ServerUnaryReactor* AdminService::CheckInvariants(
    grpc::CallbackServerContext* context, const v1::CheckInvariantsRequest* /*request*/,
    v1::CheckInvariantsResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  // Both are there until the reactor finishes, even when the client has gone away.
  services_.engine->CheckInvariants(
      [reactor, response](const absl::StatusOr<std::vector<std::string>>& violations) {
        if (violations.ok()) {
          response->mutable_violations()->Assign(violations->begin(), violations->end());
        }
        reactor->Finish(ToGrpcStatus(violations.status()));
      });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::PlanCapacity(grpc::CallbackServerContext* context,
                                                     const v1::PlanCapacityRequest* request,
                                                     v1::PlanCapacityResponse* response) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  const ModelEngine& model = *services_.model;
  const ServedCapacity served = {
      .config = &model.config(),
      .layouts = &model.kv_layouts(),
      .kv_bytes = static_cast<int64_t>(services_.engine->Stats().kv.arena_bytes),
      .max_context_tokens = model.options().max_context_tokens,
      .in_flight_tokens = model.in_flight_tokens()};
  absl::StatusOr<v1::PlanCapacityResponse> answer =
      AnswerPlanCapacity(*request, served, services_.tenants->roster());
  if (!answer.ok()) return Answer(context, answer.status());
  *response = *std::move(answer);
  return Answer(context);
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const v1::DrainRequest* /*request*/,
                                              v1::DrainResponse* /*response*/) {
  if (grpc::ServerUnaryReactor* const refused = Refused(context)) return refused;
  services_.signals->End(ServerEvent::kShutdown);
  return Answer(context);
}

}  // namespace quire::server
