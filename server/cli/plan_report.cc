#include "server/cli/plan_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/cli/kv_report.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using Json = nlohmann::ordered_json;

const CapacityRow& OwnRow(const std::vector<CapacityRow>& rows) {
  return *std::find_if(rows.begin(), rows.end(),
                       [](const CapacityRow& row) { return row.own_groups; });
}

int64_t InBudget(const Plan& plan, const PlanBudget& budget, int32_t context) {
  return budget.bytes /
         PromisedKvBytes(OwnRow(plan.rows).classes, context, plan.question.in_flight_tokens);
}

void PrintBudgets(const Plan& plan, std::ostream& out) {
  out << "\nWhat a tenant's KV budget holds, with the model's own groups: sequences at once\n";
  std::vector<std::string> header = {"tenant", "KV"};
  for (int32_t context : plan.question.context_tokens) {
    header.push_back(absl::StrCat("at ", context));
  }
  TextTable table(std::move(header));
  for (const PlanBudget& budget : plan.budgets) {
    std::vector<std::string> cells = {budget.name, FormatBytes(budget.bytes)};
    for (int32_t context : plan.question.context_tokens) {
      cells.push_back(absl::StrCat(InBudget(plan, budget, context)));
    }
    table.AddRow(std::move(cells));
  }
  table.Print(out);
}

std::string Milliseconds(double seconds) {
  return seconds > 0 ? absl::StrFormat("%.1f ms", seconds * 1e3) : "-";
}

}  // namespace

std::string GroupsName(const std::vector<int32_t>& groups, int32_t query_heads) {
  int32_t fewest = 0, most = 0;
  for (const int32_t count : groups) {
    if (count == 0) continue;  // a layer without attention
    fewest = fewest == 0 ? count : std::min(fewest, count);
    most = std::max(most, count);
  }
  if (fewest != most) return absl::StrCat(fewest, " to ", most);
  return absl::StrCat(most, most == query_heads ? " (MHA)" : most == 1 ? " (MQA)" : "");
}

PlanRow MakePlanRow(const CapacityRow& row) {
  const KvLayout& first = row.classes[0];
  PlanRow plan = {.own = row.own_groups,
                  .kv_groups = row.kv_groups,
                  .kv_dtype = kernels::DTypeName(first.dtype),
                  .block_tokens = first.block_tokens,
                  .token_bytes = static_cast<int64_t>(TokenBytes(row.classes)),
                  .kv_bytes = row.pool.bytes,
                  .block_bytes = 0,
                  .blocks = 0,
                  .sequences = row.sequences,
                  .step_seconds = {}};
  if (row.classes.size() > 1) return plan;
  plan.block_bytes = static_cast<int64_t>(first.BlockBytes());
  plan.blocks = row.pool.blocks[0];
  return plan;
}

void PrintPlanRows(const std::vector<PlanRow>& rows, int32_t query_heads,
                   const PlanColumns& columns, std::ostream& out) {
  const bool one_class =
      std::all_of(rows.begin(), rows.end(), [](const PlanRow& row) { return row.block_bytes > 0; });
  std::vector<std::string> header = {"KV groups", "KV type", "block", "KV a token", "KV cache"};
  if (one_class) header.insert(header.end(), {"KV a block", "blocks", "tokens"});
  for (int32_t context : columns.contexts) header.push_back(absl::StrCat("at ", context));
  for (const PlanStep& step : columns.steps) {
    header.push_back(absl::StrCat("step ", step.batch, "x", step.context));
  }
  TextTable table(std::move(header));
  for (const PlanRow& row : rows) {
    std::vector<std::string> cells = {
        absl::StrCat(row.own ? "* " : "  ", GroupsName(row.kv_groups, query_heads)), row.kv_dtype,
        absl::StrCat(row.block_tokens), FormatBytes(row.token_bytes), FormatBytes(row.kv_bytes)};
    if (one_class) {
      cells.insert(cells.end(), {FormatBytes(row.block_bytes), absl::StrCat(row.blocks),
                                 absl::StrCat(row.blocks * row.block_tokens)});
    }
    for (int64_t sequences : row.sequences) cells.push_back(absl::StrCat(sequences));
    for (double seconds : row.step_seconds) cells.push_back(Milliseconds(seconds));
    table.AddRow(std::move(cells));
  }
  table.Print(out);
}

void PrintPlan(const Plan& plan, std::ostream& out) {
  const CapacityQuestion& question = plan.question;
  out << plan.config.name << ", " << DescribeAttention(plan.config) << '\n'
      << (question.weights_included ? "Weights and KV cache in " : "A KV cache of ")
      << FormatBytes(question.memory_bytes)
      << (question.weights_included ? ", the weights " : ", beside weights of ")
      << FormatBytes(OwnRow(plan.rows).weight_bytes)
      << "; sequences at once, by tokens of prompt and answer together\n";
  if (!plan.steps.empty()) {
    out << "Decode steps of so many sequences by so many tokens of context, predicted for "
        << plan.device << '\n';
  }
  out << '\n';
  std::vector<PlanRow> rows;
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    rows.push_back(MakePlanRow(plan.rows[i]));
    if (!plan.steps.empty()) rows.back().step_seconds = plan.step_seconds[i];
  }
  PrintPlanRows(rows, plan.config.num_heads,
                {.contexts = question.context_tokens, .steps = plan.steps}, out);
  out << "*: the groups that the model has\n";
  if (!plan.budgets.empty()) PrintBudgets(plan, out);
}

Json PlanJson(const Plan& plan) {
  const CapacityQuestion& question = plan.question;
  Json row_list = Json::array();
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    const CapacityRow& row = plan.rows[i];
    Json classes = Json::array();
    for (size_t c = 0; c < row.classes.size(); ++c) {
      classes.push_back({{"window", row.classes[c].window},
                         {"layers", row.classes[c].layers.size()},
                         {"block_bytes", row.classes[c].BlockBytes()},
                         {"blocks", row.pool.blocks[c]}});
    }
    Json sequences = Json::array();
    for (size_t c = 0; c < row.sequences.size(); ++c) {
      sequences.push_back(
          {{"context_tokens", question.context_tokens[c]}, {"sequences", row.sequences[c]}});
    }
    Json steps = Json::array();
    for (size_t s = 0; s < plan.steps.size(); ++s) {
      const double seconds = plan.step_seconds[i][s];
      steps.push_back({{"batch", plan.steps[s].batch},
                       {"context_tokens", plan.steps[s].context},
                       {"seconds", seconds > 0 ? Json(seconds) : Json(nullptr)}});
    }
    row_list.push_back({{"kv_groups", row.kv_groups},
                        {"own_groups", row.own_groups},
                        {"kv_dtype", kernels::DTypeName(row.classes[0].dtype)},
                        {"block_tokens", row.classes[0].block_tokens},
                        {"token_bytes", TokenBytes(row.classes)},
                        {"weight_bytes", row.weight_bytes},
                        {"kv_bytes", row.pool.bytes},
                        {"kv_classes", std::move(classes)},
                        {"capacity", std::move(sequences)},
                        {"decode_steps", std::move(steps)}});
  }
  Json budget_list = Json::array();
  for (const PlanBudget& budget : plan.budgets) {
    Json sequences = Json::array();
    for (int32_t context : question.context_tokens) {
      sequences.push_back(
          {{"context_tokens", context}, {"sequences", InBudget(plan, budget, context)}});
    }
    budget_list.push_back(
        {{"tenant", budget.name}, {"kv_bytes", budget.bytes}, {"capacity", std::move(sequences)}});
  }
  return {{"model", plan.config.name},
          {"query_heads", plan.config.num_heads},
          {"memory_bytes", question.memory_bytes},
          {"weights_included", question.weights_included},
          {"decode_device", plan.device.empty() ? Json(nullptr) : Json(plan.device)},
          {"rows", std::move(row_list)},
          {"budgets", std::move(budget_list)}};
}

}  // namespace quire::cli
