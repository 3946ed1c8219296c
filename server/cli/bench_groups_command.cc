#include "server/cli/bench_groups_command.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/capacity/group_dial.h"
#include "kernels/api/device_factory.h"
#include "server/cli/bench_groups_report.h"
#include "server/cli/bench_measure.h"
#include "server/cli/bench_step_time.h"
#include "server/cli/model_argument.h"

namespace quire::cli {
namespace {

struct Options {
  std::string shape;
  std::vector<std::string> groups = {"all"};
  BenchModelOptions model;
  int64_t kv_memory = int64_t{4} << 30;
  std::vector<int32_t> batches = {1, 16};
  std::vector<int32_t> contexts = {512, 2048};
  int32_t prompt = 512;
  int32_t chunk = 512;
  int32_t repeat = 10;
  bool predict = true;
  std::string json_file;
  std::string svg_file;
};

absl::Status MeasureRow(const Options& options, const ModelConfig& config, GroupsResult* result,
                        GroupsReport* report) {
  QUIRE_ASSIGN_OR_RETURN(
      const auto model,
      BenchModel::Create(options.model, config,
                         LargestStep(options.batches, options.contexts, {options.prompt},
                                     options.chunk, options.model.block_tokens),
                         nullptr));
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
  return absl::OkStatus();
}

// Before anything is measured, so that nothing measured is in it.
absl::Status PredictAll(const Options& options, const ModelConfig& config, GroupsReport* report) {
  const int32_t longest = *std::max_element(options.contexts.begin(), options.contexts.end());
  QUIRE_ASSIGN_OR_RETURN(DecodeStepPredictor predictor,
                         DecodeStepPredictor::Create(config, options.model, longest));
  for (GroupsResult& result : report->results) {
    const std::vector<int32_t> groups(static_cast<size_t>(config.num_layers), result.kv_groups);
    for (const int32_t context : options.contexts) {
      for (const int32_t batch : options.batches) {
        QUIRE_ASSIGN_OR_RETURN(const double seconds, predictor.Seconds(groups, batch, context));
        result.predicted_seconds.push_back(seconds);
      }
    }
    std::cerr << "predicted " << result.kv_groups << " groups\n";
  }
  return absl::OkStatus();
}

absl::StatusOr<GroupsReport> Measure(const Options& options) {
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, FindModel(options.shape));
  CapacityQuestion question;
  question.memory_bytes = options.kv_memory;
  QUIRE_ASSIGN_OR_RETURN(question.kv_groups, ParseGroups(options.groups, config));
  question.kv_dtypes = {config.DefaultComputeType()};
  question.block_tokens = {options.model.block_tokens};
  question.context_tokens = options.contexts;
  QUIRE_ASSIGN_OR_RETURN(const std::vector<CapacityRow> rows, PlanCapacity(config, question));
  GroupsReport report;
  report.model = config.name;
  report.query_heads = config.num_heads;
  report.kv_bytes = options.kv_memory;
  report.block_tokens = options.model.block_tokens;
  report.repeat = options.repeat;
  report.contexts = options.contexts;
  for (const CapacityRow& row : rows) {
    const auto [fewest, most] = std::minmax_element(row.kv_groups.begin(), row.kv_groups.end());
    if (*fewest != *most) continue;  // the shape's own list by layer is no place on the dial
    report.results.push_back({.kv_groups = *most,
                              .own = row.own_groups,
                              .token_bytes = static_cast<int64_t>(TokenBytes(row.classes)),
                              .blocks = row.pool.blocks[0],
                              .sequences = row.sequences,
                              .prefill = {},
                              .decode = {},
                              .predicted_seconds = {}});
  }
  if (report.results.size() < 2) {
    return absl::InvalidArgumentError("--groups: compare at least two numbers of groups");
  }
  report.machine = MeasureMachine(options.model.threads, config.DefaultComputeType());
  if (options.predict) QUIRE_RETURN_IF_ERROR(PredictAll(options, config, &report));
  for (GroupsResult& result : report.results) {
    QUIRE_ASSIGN_OR_RETURN(const ModelConfig changed, WithKvGroups(config, result.kv_groups));
    QUIRE_RETURN_IF_ERROR(MeasureRow(options, changed, &result, &report));
    std::cerr << "measured " << result.kv_groups << " groups\n";
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
  add("--block-tokens", options->model.block_tokens, 512, "Tokens a KV block");
  app->add_option("--threads", options->model.threads, "CPU threads (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app->add_option("--kv-memory", options->kv_memory,
                  "KV cache that blocks and sequences are counted for (default: 4GiB)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app->add_option("--kv-limit", options->model.kv_limit_bytes,
                  "Most memory for the KV blocks of a measurement (default: 8GiB)")
      ->transform(CLI::AsSizeValue(false));
  app->add_flag("!--no-prediction", options->predict,
                "Leave out the comparison with what quire plan predicts");
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
