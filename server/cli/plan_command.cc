#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"
#include "kernels/api/dtype_names.h"
#include "server/cli/bench_step_time.h"
#include "server/cli/commands.h"
#include "server/cli/kv_report.h"
#include "server/cli/model_argument.h"
#include "server/cli/plan_report.h"

namespace quire::cli {
namespace {

struct PlanOptions {
  std::string model;
  int64_t kv_memory = int64_t{4} << 30;
  int64_t total_memory = 0;
  std::vector<std::string> groups = {"all"};
  std::string weights = "dense";
  std::vector<std::string> kv_dtypes = {"auto"};
  std::vector<int32_t> block_tokens = {16};
  std::vector<int32_t> contexts;
  int32_t max_context = 0;
  int32_t max_step_tokens = 512;
  int32_t steps_in_flight = 1;
  std::vector<std::string> budgets;
  std::vector<std::string> steps;
  std::string device = "auto";
  int32_t threads = 0;
  bool json = false;
};

// "gold=2GiB"
absl::StatusOr<std::vector<PlanBudget>> ParseBudgets(const std::vector<std::string>& texts) {
  std::vector<PlanBudget> budgets;
  for (const std::string& text : texts) {
    const size_t sign = text.rfind('=');
    std::string size = sign == std::string::npos ? "" : text.substr(sign + 1);
    const std::string complaint = CLI::AsSizeValue(false)(size);
    int64_t bytes = 0;
    if (sign == 0 || !complaint.empty() || !absl::SimpleAtoi(size, &bytes) || bytes < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("--budget ", text, ": must be NAME=SIZE, such as gold=2GiB"));
    }
    budgets.push_back({.name = text.substr(0, sign), .bytes = bytes});
  }
  return budgets;
}

// "16x2048"
absl::StatusOr<std::vector<PlanStep>> ParseSteps(const std::vector<std::string>& texts) {
  std::vector<PlanStep> steps;
  for (const std::string& text : texts) {
    const std::pair<std::string, std::string> sides = absl::StrSplit(text, absl::MaxSplits('x', 1));
    PlanStep step;
    if (!absl::SimpleAtoi(sides.first, &step.batch) || step.batch < 1 || step.batch > 1024 ||
        !absl::SimpleAtoi(sides.second, &step.context) || step.context < 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--decode ", text, ": must be sequences by tokens of context, such as 16x2048"));
    }
    steps.push_back(step);
  }
  return steps;
}

// Only where the device has KV of that type.
absl::Status PredictSteps(const BenchModelOptions& options, const StepDevice& device, Plan* plan) {
  int32_t longest = 1;
  for (const PlanStep& step : plan->steps) longest = std::max(longest, step.context);
  std::map<std::pair<int32_t, kernels::DType>, DecodeStepPredictor> predictors;
  for (const CapacityRow& row : plan->rows) {
    std::vector<double>& seconds = plan->step_seconds.emplace_back(plan->steps.size(), 0.0);
    const KvLayout& layout = row.classes[0];
    if (layout.dtype != device.compute && layout.dtype != device.narrow_kv) continue;
    BenchModelOptions model = options;
    model.compute = device.compute;
    model.weights = plan->question.weights;
    model.block_tokens = layout.block_tokens;
    model.kv = layout.dtype;
    const std::pair key(layout.block_tokens, layout.dtype);
    auto it = predictors.find(key);
    if (it == predictors.end()) {
      QUIRE_ASSIGN_OR_RETURN(DecodeStepPredictor predictor,
                             DecodeStepPredictor::Create(plan->config, model, longest));
      it = predictors.emplace(key, std::move(predictor)).first;
    }
    for (size_t s = 0; s < plan->steps.size(); ++s) {
      const PlanStep& step = plan->steps[s];
      QUIRE_ASSIGN_OR_RETURN(seconds[s],
                             it->second.Seconds(row.kv_groups, step.batch, step.context));
    }
    std::cerr << "measured " << plan->step_seconds.size() << " of " << plan->rows.size()
              << " rows\n";
  }
  return absl::OkStatus();
}

absl::StatusOr<Plan> MakePlan(const PlanOptions& options) {
  Plan plan;
  QUIRE_ASSIGN_OR_RETURN(plan.config, FindModel(options.model));
  QUIRE_ASSIGN_OR_RETURN(plan.budgets, ParseBudgets(options.budgets));
  QUIRE_ASSIGN_OR_RETURN(plan.steps, ParseSteps(options.steps));
  const ModelConfig& config = plan.config;
  CapacityQuestion& question = plan.question;
  question.weights_included = options.total_memory > 0;
  question.memory_bytes = question.weights_included ? options.total_memory : options.kv_memory;
  QUIRE_ASSIGN_OR_RETURN(question.kv_groups, ParseGroups(options.groups, config));
  BenchModelOptions model;
  model.device = options.device;
  model.threads = options.threads;
  StepDevice device;
  device.compute = config.DefaultComputeType();
  if (!plan.steps.empty()) {
    QUIRE_ASSIGN_OR_RETURN(device, FindStepDevice(model, config));
    plan.device = device.description;
  }
  for (const std::string& name : options.kv_dtypes) {
    question.kv_dtypes.push_back(ChooseKvDType(name, device.compute));
  }
  question.weights = kernels::WeightFormatOf(options.weights).value();
  question.block_tokens = options.block_tokens;
  question.max_context_tokens = options.max_context;
  question.context_tokens = options.contexts;
  if (question.context_tokens.empty()) {
    question.context_tokens =
        DefaultContexts(options.max_context > 0 ? options.max_context : config.max_positions);
  }
  question.in_flight_tokens = int64_t{options.max_step_tokens} * options.steps_in_flight;
  QUIRE_ASSIGN_OR_RETURN(plan.rows, PlanCapacity(config, question));
  if (!plan.steps.empty()) QUIRE_RETURN_IF_ERROR(PredictSteps(model, device, &plan));
  return plan;
}

absl::Status RunPlan(const PlanOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const Plan plan, MakePlan(options));
  if (options.json) {
    std::cout << PlanJson(plan).dump(2) << '\n';
  } else {
    PrintPlan(plan, std::cout);
  }
  return absl::OkStatus();
}

void AddDecodeOptions(CLI::App* app, PlanOptions* options) {
  CLI::Option* const decode =
      app->add_option(
             "--decode", options->steps,
             "Predict decode steps of so many sequences by so many tokens of context on "
             "this machine, such as 1x512,16x2048; takes seconds for each number of groups")
          ->delimiter(',')
          ->allow_extra_args(false);
  app->add_option("--device", options->device,
                  "Where those would run; auto: cuda where there is a usable GPU, else cpu")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->needs(decode)
      ->capture_default_str();
  app->add_option("--threads", options->threads, "CPU threads of those (default: all cores)")
      ->check(CLI::Range(1, 1024));
}

}  // namespace

Command AddPlanCommand(CLI::App* root) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* app =
      root->add_subcommand("plan", "What fits in memory, as a function of the number of KV groups");
  app->add_option("model", options->model, FindModelHelp())->required();
  CLI::Option* const kv_memory =
      app->add_option("--kv-memory", options->kv_memory, "Memory of the KV cache (default: 4GiB)")
          ->transform(CLI::AsSizeValue(false));
  app->add_option("--total-memory", options->total_memory,
                  "Memory of KV cache and weights together, what steps need beside it left out")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber)
      ->excludes(kv_memory);
  app->add_option("--groups", options->groups,
                  "Numbers of KV groups to compare with the model's own: 8,4,1, 'all' or 'own'")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app->add_option("--weights", options->weights, "How weights are kept, as for quire-server")
      ->check(CLI::IsMember({"dense", "int8", "int4"}))
      ->capture_default_str();
  std::vector<std::string> dtypes = KvDTypeNames();
  dtypes.emplace_back("auto");
  app->add_option("--kv-dtype", options->kv_dtypes,
                  "Number types of keys and values; auto: what the server computes in")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(dtypes))
      ->capture_default_str();
  app->add_option("--block-tokens", options->block_tokens, "Tokens a KV block")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app->add_option("--context", options->contexts,
                  "Tokens of a sequence, prompt and answer together")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--max-context", options->max_context,
                  "Longest context served, as for quire-server (default: the model's own)")
      ->check(CLI::PositiveNumber);
  app->add_option("--max-step-tokens", options->max_step_tokens,
                  "As for quire-server; layers with a window keep so much more")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--steps-in-flight", options->steps_in_flight,
                  "Steps that run or are launched at once: 1 on a CPU, 2 on a GPU")
      ->check(CLI::Range(1, 2))
      ->capture_default_str();
  app->add_option("--budget", options->budgets,
                  "A tenant's kv_reserved or kv_limit, such as gold=2GiB; may be repeated")
      ->allow_extra_args(false);
  AddDecodeOptions(app, options.get());
  app->add_flag("--json", options->json, "Print one JSON object");
  return {app, [options] {
            const absl::Status status = RunPlan(*options);
            return status.ok() ? kExitOk : ReportError("quire plan", status);
          }};
}

}  // namespace quire::cli
