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

// A decode step: sequences, and tokens of KV that each has.
struct PlanStep {
  int32_t batch = 0;
  int32_t context = 0;
};

// One way to lay the KV cache out, whoever planned it.
struct PlanRow {
  bool own = false;                // as the model, or the server, is
  std::vector<int32_t> kv_groups;  // of each layer
  std::string kv_dtype;
  int64_t block_tokens = 0;
  int64_t token_bytes = 0;
  int64_t kv_bytes = 0;
  // Of the one class of layers there is; with several 0: how many blocks each has depends on what
  // runs.
  int64_t block_bytes = 0;
  int64_t blocks = 0;
  std::vector<int64_t> sequences;    // by context
  std::vector<double> step_seconds;  // by PlanStep; 0: not known
};

// The row as PlanCapacity gives it, without times.
PlanRow MakePlanRow(const CapacityRow& row);

// What a table's columns are for.
struct PlanColumns {
  std::vector<int32_t> contexts;
  std::vector<PlanStep> steps;
};

// "8", "32 (MHA)", "4 to 16". `groups`: of each layer, 0 where there is no attention.
std::string GroupsName(const std::vector<int32_t>& groups, int32_t query_heads);

// A table with those that are `own` marked. `query_heads`: as many groups are MHA.
void PrintPlanRows(const std::vector<PlanRow>& rows, int32_t query_heads,
                   const PlanColumns& columns, std::ostream& out);

// All that `quire plan` has found.
struct Plan {
  ModelConfig config;
  CapacityQuestion question;
  std::vector<CapacityRow> rows;
  std::vector<PlanBudget> budgets;
  std::vector<PlanStep> steps;
  std::string device;                             // that they would run on, in words
  std::vector<std::vector<double>> step_seconds;  // by row and step; 0: not known
};

// One row a way to lay the KV cache out, the model's own groups marked; below it, where there are
// budgets, what each holds with the model's own groups and the first type and block size.
void PrintPlan(const Plan& plan, std::ostream& out);
nlohmann::ordered_json PlanJson(const Plan& plan);

}  // namespace quire::cli
