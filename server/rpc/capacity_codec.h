#pragma once

#include "absl/status/statusor.h"
#include "core/capacity/capacity_planner.h"
#include "core/model/model_config.h"
#include "quire/v1/admin.pb.h"
#include "server/auth/tenant_directory.h"

namespace quire::server {

// The KV cache that this server has.
struct ServedCapacity {
  const ModelConfig* config = nullptr;
  const KvLayouts* layouts = nullptr;
  int64_t kv_bytes = 0;
  int32_t max_context_tokens = 0;
  int64_t in_flight_tokens = 1;
};

// InvalidArgument names the field and what it must be. Pure.
absl::StatusOr<v1::PlanCapacityResponse> AnswerPlanCapacity(const v1::PlanCapacityRequest& request,
                                                            const ServedCapacity& served,
                                                            const TenantRoster& tenants);

}  // namespace quire::server
