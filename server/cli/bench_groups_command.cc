#include "server/cli/bench_groups_command.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "core/capacity/group_dial.h"
#include "kernels/api/device_factory.h"
#include "server/cli/bench_groups_report.h"
#include "server/cli/bench_load.h"
#include "server/cli/bench_measure.h"
#include "server/cli/bench_step_time.h"
#include "server/cli/model_argument.h"

namespace quire::cli {
namespace {

struct Options {
  std::string shape;
  std::vector<std::string> groups = {"all"};
  BenchModelOptions model;
  int64_t kv_memory = int64_t{1} << 30;
  std::vector<int32_t> batches = {1, 16};
  std::vector<int32_t> contexts = {512, 2048};
  int32_t prompt = 512;
  int32_t chunk = 512;
  int32_t repeat = 10;
  int32_t users = 16;  // 0: no load
  int32_t requests = 32;
  int32_t output = 32;
  bool predict = true;
  std::string quality_file;
  std::string json_file;
  std::string svg_file;
};

LoadOptions LoadOf(const Options& options) {
  return {.users = options.users,
          .requests = options.requests,
          .prompt = options.prompt,
          .output = options.output,
          .max_step_tokens = options.chunk,
          .kv_bytes = options.kv_memory};
}

void ShowProgress(const GroupsResult& result, const char* what) {
  std::cerr << result.kv_groups << (result.kv_groups == 1 ? " KV group: " : " KV groups: ") << what
            << std::endl;
}

absl::Status MeasureRow(const Options& options, const ModelConfig& config, GroupsResult* result,
                        GroupsReport* report) {
  BenchSizes sizes = LargestStep(options.batches, options.contexts, {options.prompt}, options.chunk,
                                 options.model.block_tokens);
  if (options.users > 0) {
    sizes = LargestOf(sizes, LoadSizes(LoadOf(options), result->block_bytes));
  }
  QUIRE_ASSIGN_OR_RETURN(const auto model,
                         BenchModel::Create(options.model, config, sizes, nullptr));
  report->device = model->device_description();
  report->compute_dtype = kernels::DTypeName(model->compute());
  QUIRE_ASSIGN_OR_RETURN(
      result->prefill, MeasurePrefill(model.get(), options.prompt, options.chunk, options.repeat));
  for (const int32_t context : options.contexts) {
    for (const int32_t batch : options.batches) {
      QUIRE_ASSIGN_OR_RETURN(result->decode.emplace_back(),
                             MeasureDecode(model.get(), batch, context, options.repeat));
    }
  }
  ShowProgress(*result, "timed");
  if (options.users > 0) {
    QUIRE_ASSIGN_OR_RETURN(result->load, MeasureLoad(model.get(), LoadOf(options)));
    ShowProgress(*result, "served");
  }
  return absl::OkStatus();
}

// Knows nothing of what was measured; right before the row is, as a machine's speed drifts.
absl::Status PredictRow(const Options& options, DecodeStepPredictor* predictor,
                        const ModelConfig& config, GroupsResult* result) {
  for (const int32_t context : options.contexts) {
    for (const int32_t batch : options.batches) {
      QUIRE_ASSIGN_OR_RETURN(result->predicted_seconds.emplace_back(),
                             predictor->Seconds(config.kv_groups, batch, context));
    }
  }
  ShowProgress(*result, "predicted");
  return absl::OkStatus();
}

absl::StatusOr<std::optional<QualityTable>> ReadQuality(const Options& options,
                                                        const ModelConfig& config) {
  constexpr size_t kMostBytes = 1 << 20;
  if (options.quality_file.empty()) return std::nullopt;
  QUIRE_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(options.quality_file, kMostBytes));
  QUIRE_ASSIGN_OR_RETURN(QualityTable table, ParseQuality(text, options.quality_file));
  if (table.query_heads == config.num_heads) return table;
  return absl::InvalidArgumentError(
      absl::StrCat("--quality: ", options.quality_file, " is of models with ", table.query_heads,
                   " query heads, and ", config.name, " has ", config.num_heads));
}

absl::StatusOr<GroupsReport> Measure(const Options& options) {
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, FindModel(options.shape));
  if (options.users > 0 && !config.windows.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        config.name, " has layers with a window, whose blocks the load would not give up as the ",
        "server does: leave it out with --users 0"));
  }
  CapacityQuestion question;
  question.memory_bytes = options.kv_memory;
  QUIRE_ASSIGN_OR_RETURN(question.kv_groups, ParseGroups(options.groups, config));
  question.kv_dtypes = {options.model.compute.value_or(config.DefaultComputeType())};
  question.block_tokens = {options.model.block_tokens};
  question.context_tokens = options.contexts;
  QUIRE_ASSIGN_OR_RETURN(const std::vector<CapacityRow> rows, PlanCapacity(config, question));
  GroupsReport report;
  QUIRE_ASSIGN_OR_RETURN(report.quality, ReadQuality(options, config));
  report.model = config.name;
  report.query_heads = config.num_heads;
  report.kv_bytes = options.kv_memory;
  report.block_tokens = options.model.block_tokens;
  report.repeat = options.repeat;
  report.load = LoadOf(options);
  report.contexts = options.contexts;
  for (const CapacityRow& row : rows) {
    const auto [fewest, most] = std::minmax_element(row.kv_groups.begin(), row.kv_groups.end());
    if (*fewest != *most) continue;  // the shape's own list by layer is no place on the dial
    report.results.push_back({.kv_groups = *most,
                              .own = row.own_groups,
                              .token_bytes = static_cast<int64_t>(TokenBytes(row.classes)),
                              .block_bytes = static_cast<int64_t>(row.classes[0].BlockBytes()),
                              .blocks = row.pool.blocks[0],
                              .sequences = row.sequences,
                              .prefill = {},
                              .decode = {},
                              .predicted_seconds = {},
                              .load = {}});
  }
  if (report.results.size() < 2) {
    return absl::InvalidArgumentError("--groups: compare at least two numbers of groups");
  }
  if (options.model.device == "cpu") {
    report.machine = MeasureMachine(options.model.threads, question.kv_dtypes[0]);
  }
  std::optional<DecodeStepPredictor> predictor;
  if (options.predict) {
    const int32_t longest = *std::max_element(options.contexts.begin(), options.contexts.end());
    QUIRE_ASSIGN_OR_RETURN(predictor, DecodeStepPredictor::Create(config, options.model, longest));
  }
  for (GroupsResult& result : report.results) {
    QUIRE_ASSIGN_OR_RETURN(const ModelConfig changed, WithKvGroups(config, result.kv_groups));
    if (predictor.has_value()) {
      QUIRE_RETURN_IF_ERROR(PredictRow(options, &*predictor, changed, &result));
    }
    QUIRE_RETURN_IF_ERROR(MeasureRow(options, changed, &result, &report));
  }
  return report;
}

absl::Status WriteSvgFile(const GroupsReport& report, const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  std::ofstream file(name);
  WriteSvg(GroupsCharts(report), file);
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write '", name, "'"));
}

absl::Status RunBench(Options options) {
  if (options.model.threads == 0) options.model.threads = kernels::UsableCores();
  if (options.model.device == "cuda") options.model.compute = kernels::DType::kBF16;
  QUIRE_ASSIGN_OR_RETURN(const GroupsReport report, Measure(options));
  PrintGroups(report, std::cout);
  QUIRE_RETURN_IF_ERROR(WriteSvgFile(report, options.svg_file));
  return WriteJsonFile(GroupsJson(report), options.json_file);
}

void AddOptions(CLI::App* app, Options* options) {
  app->add_option("--groups", options->groups, "Numbers of KV groups, such as 32,8,1, or all")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  const auto add_list = [app](const char* name, std::vector<int32_t>& values, const char* help) {
    app->add_option(name, values, help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
  };
  const auto add = [app](const char* name, int32_t& value, int32_t most, const char* help) {
    app->add_option(name, value, help)->check(CLI::Range(1, most))->capture_default_str();
  };
  add_list("--batch", options->batches, "Sequences of a decode step");
  add_list("--context", options->contexts, "Tokens of KV that each of them has");
  add("--prompt", options->prompt, 1 << 20, "Length of the prompt for prefill");
  add("--chunk", options->chunk, 1 << 20, "Most prompt tokens a step");
  add("--repeat", options->repeat, 100000, "Runs of each measurement, after a warm-up");
  app->add_option("--users", options->users,
                  "Load: users who each send a prompt, wait for the answer and send the next; 0: "
                  "none")
      ->check(CLI::Range(0, 512))
      ->capture_default_str();
  add("--requests", options->requests, 1 << 20, "Requests of all users together");
  add("--output", options->output, 1 << 20, "Tokens of each answer to them");
  add("--block-tokens", options->model.block_tokens, 512, "Tokens a KV block");
  app->add_option("--device", options->model.device, "Where to run")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app->add_option("--threads", options->model.threads, "CPU threads (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app->add_option("--kv-memory", options->kv_memory,
                  "KV cache that blocks and sequences are counted for and the load is served from "
                  "(default: 1GiB)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app->add_option("--kv-limit", options->model.kv_limit_bytes,
                  "Most memory for the KV blocks of a measurement (default: 8GiB)")
      ->transform(CLI::AsSizeValue(false));
  app->add_flag("!--no-prediction", options->predict,
                "Leave out the comparison with what quire plan predicts");
  app->add_option("--quality", options->quality_file,
                  "Show how well models of this shape answer with each number of groups: a file "
                  "like deploy/models/quire-demo-groups/group_quality.json");
  app->add_option("--json", options->json_file, "Also write the result to this file");
  app->add_option("--svg", options->svg_file, "Also draw it to this file");
}

}  // namespace

Command AddBenchGroupsCommand(CLI::App* root) {
  auto options = std::make_shared<Options>();
  options->model.kv_limit_bytes = int64_t{8} << 30;
  CLI::App* app = root->add_subcommand(
      "groups", "Memory and speed of one shape with each number of KV groups, from MHA to MQA");
  app->add_option("shape", options->shape, FindModelHelp() + "; weights are random")->required();
  AddOptions(app, options.get());
  return {app, [options] {
            const absl::Status status = RunBench(*options);
            return status.ok() ? kExitOk : ReportError("quire-bench groups", status);
          }};
}

}  // namespace quire::cli
