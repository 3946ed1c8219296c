#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "core/capacity/capacity_planner.h"

// What `quire plan` says, for people and for machines. Pure functions.

namespace quire::cli {

// KV memory of a tenant, its kv_reserved or kv_limit.
struct PlanBudget {
  std::string name;
  int64_t bytes = 0;
};

// One row a way to lay the KV cache out, the model's own groups marked; below it, where there are
// `budgets`, what each holds with the model's own groups and the first type and block size.
void PrintPlan(const ModelConfig& config, const CapacityQuestion& question,
               const std::vector<CapacityRow>& rows, const std::vector<PlanBudget>& budgets,
               std::ostream& out);

nlohmann::ordered_json PlanJson(const ModelConfig& config, const CapacityQuestion& question,
                                const std::vector<CapacityRow>& rows,
                                const std::vector<PlanBudget>& budgets);

}  // namespace quire::cli
