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

// "8", "32 (MHA)", "4 to 16".
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
                  .sequences = row.sequences};
  if (row.classes.size() > 1) return plan;
  plan.block_bytes = static_cast<int64_t>(first.BlockBytes());
  plan.blocks = row.pool.blocks[0];
  return plan;
}

const CapacityRow& OwnRow(const std::vector<CapacityRow>& rows) {
  return *std::find_if(rows.begin(), rows.end(),
                       [](const CapacityRow& row) { return row.own_groups; });
}

void PrintBudgets(const CapacityQuestion& question, const CapacityRow& own,
                  const std::vector<PlanBudget>& budgets, std::ostream& out) {
  out << "\nWhat a tenant's KV budget holds, with the model's own groups: sequences at once\n";
  std::vector<std::string> header = {"tenant", "KV"};
  for (int32_t context : question.context_tokens) header.push_back(absl::StrCat("at ", context));
  TextTable table(std::move(header));
  for (const PlanBudget& budget : budgets) {
    std::vector<std::string> cells = {budget.name, FormatBytes(budget.bytes)};
    for (int32_t context : question.context_tokens) {
      cells.push_back(absl::StrCat(
          budget.bytes / PromisedKvBytes(own.classes, context, question.in_flight_tokens)));
    }
    table.AddRow(std::move(cells));
  }
  table.Print(out);
}

}  // namespace

void PrintPlanRows(const std::vector<PlanRow>& rows, int32_t query_heads,
                   const std::vector<int32_t>& contexts, std::ostream& out) {
  const bool one_class =
      std::all_of(rows.begin(), rows.end(), [](const PlanRow& row) { return row.block_bytes > 0; });
  std::vector<std::string> header = {"KV groups", "KV type", "block", "KV a token", "KV cache"};
  if (one_class) header.insert(header.end(), {"KV a block", "blocks", "tokens"});
  for (int32_t context : contexts) header.push_back(absl::StrCat("at ", context));
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
    table.AddRow(std::move(cells));
  }
  table.Print(out);
}

void PrintPlan(const ModelConfig& config, const CapacityQuestion& question,
               const std::vector<CapacityRow>& rows, const std::vector<PlanBudget>& budgets,
               std::ostream& out) {
  const CapacityRow& own = OwnRow(rows);
  out << config.name << ", " << DescribeAttention(config) << '\n'
      << (question.weights_included ? "Weights and KV cache in " : "A KV cache of ")
      << FormatBytes(question.memory_bytes)
      << (question.weights_included ? ", the weights " : ", beside weights of ")
      << FormatBytes(own.weight_bytes)
      << "; sequences at once, by tokens of prompt and answer together\n\n";
  std::vector<PlanRow> plan_rows;
  for (const CapacityRow& row : rows) plan_rows.push_back(MakePlanRow(row));
  PrintPlanRows(plan_rows, config.num_heads, question.context_tokens, out);
  out << "*: the groups that the model has\n";
  if (!budgets.empty()) PrintBudgets(question, own, budgets, out);
}

Json PlanJson(const ModelConfig& config, const CapacityQuestion& question,
              const std::vector<CapacityRow>& rows, const std::vector<PlanBudget>& budgets) {
  Json row_list = Json::array();
  for (const CapacityRow& row : rows) {
    Json classes = Json::array();
    for (size_t c = 0; c < row.classes.size(); ++c) {
      classes.push_back({{"window", row.classes[c].window},
                         {"layers", row.classes[c].layers.size()},
                         {"block_bytes", row.classes[c].BlockBytes()},
                         {"blocks", row.pool.blocks[c]}});
    }
    Json sequences = Json::array();
    for (size_t i = 0; i < row.sequences.size(); ++i) {
      sequences.push_back(
          {{"context_tokens", question.context_tokens[i]}, {"sequences", row.sequences[i]}});
    }
    row_list.push_back({{"kv_groups", row.kv_groups},
                        {"own_groups", row.own_groups},
                        {"kv_dtype", kernels::DTypeName(row.classes[0].dtype)},
                        {"block_tokens", row.classes[0].block_tokens},
                        {"token_bytes", TokenBytes(row.classes)},
                        {"weight_bytes", row.weight_bytes},
                        {"kv_bytes", row.pool.bytes},
                        {"kv_classes", std::move(classes)},
                        {"capacity", std::move(sequences)}});
  }
  Json budget_list = Json::array();
  for (const PlanBudget& budget : budgets) {
    Json sequences = Json::array();
    for (int32_t context : question.context_tokens) {
      const int64_t each =
          PromisedKvBytes(OwnRow(rows).classes, context, question.in_flight_tokens);
      sequences.push_back({{"context_tokens", context}, {"sequences", budget.bytes / each}});
    }
    budget_list.push_back(
        {{"tenant", budget.name}, {"kv_bytes", budget.bytes}, {"capacity", std::move(sequences)}});
  }
  return {{"model", config.name},
          {"query_heads", config.num_heads},
          {"memory_bytes", question.memory_bytes},
          {"weights_included", question.weights_included},
          {"rows", std::move(row_list)},
          {"budgets", std::move(budget_list)}};
}

}  // namespace quire::cli
