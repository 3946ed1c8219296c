#include "server/cli/bench_step_command.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "kernels/api/device_factory.h"
#include "kernels/api/dtype_names.h"
#include "server/cli/bench_measure.h"
#include "server/cli/bench_model.h"
#include "server/cli/bench_report.h"
#include "server/cli/bench_scheduler.h"

namespace quire::cli {
namespace {

struct Options {
  BenchModelOptions model;
  std::string dtype;
  std::string kv_dtype = "auto";
  std::string weights = "dense";
  std::vector<int32_t> batches = {1, 4, 16};
  std::vector<int32_t> contexts = {512, 2048};
  std::vector<int32_t> prompts = {512};
  int32_t chunk = 512;
  int32_t repeat = 10;
  std::string component = "model";
  SchedulerBenchOptions scheduler;
  std::string json_file;
};

absl::Status CheckLengths(const Options& options, const ModelConfig& config) {
  for (const auto* lengths : {&options.contexts, &options.prompts}) {
    for (int32_t length : *lengths) {
      if (length <= config.max_positions) continue;
      return absl::InvalidArgumentError(absl::StrCat(length, " tokens are more than the ",
                                                     config.max_positions, " that ", config.name,
                                                     " takes"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchReport> Measure(const Options& options) {
  const bool random = options.model.model_dir.empty();
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, random
                                                       ? NamedModelShape(options.model.shape)
                                                       : LoadModelConfig(options.model.model_dir));
  QUIRE_RETURN_IF_ERROR(CheckLengths(options, config));
  QUIRE_ASSIGN_OR_RETURN(
      const auto model,
      BenchModel::Create(options.model, config,
                         LargestStep(options.batches, options.contexts, options.prompts,
                                     options.chunk, options.model.block_tokens),
                         ShowLoadProgress()));
  BenchReport report;
  report.model = config.name;
  report.weights = random ? "random" : options.model.model_dir;
  report.device = model->device_description();
  report.compute_dtype = kernels::DTypeName(model->compute());
  if (options.model.weights != kernels::WeightFormat::kDense) {
    report.compute_dtype += absl::StrCat(", weights in ", options.weights);
  }
  if (model->layout().dtype != model->compute()) {
    report.compute_dtype += absl::StrCat(", KV in ", kernels::DTypeName(model->layout().dtype));
  }
  report.threads = options.model.threads;
  report.block_tokens = model->layout().block_tokens;
  report.block_bytes = static_cast<int64_t>(model->layout().BlockBytes());
  report.weight_bytes = model->weight_bytes();
  report.repeat = options.repeat;
  report.machine = MeasureMachine(options.model.threads, model->compute(), options.model.weights);
  for (int32_t prompt : options.prompts) {
    QUIRE_ASSIGN_OR_RETURN(BenchResult result,
                           MeasurePrefill(model.get(), prompt, options.chunk, options.repeat));
    report.results.push_back(result);
  }
  for (int32_t context : options.contexts) {
    for (int32_t batch : options.batches) {
      QUIRE_ASSIGN_OR_RETURN(BenchResult result,
                             MeasureDecode(model.get(), batch, context, options.repeat));
      report.results.push_back(result);
    }
  }
  return report;
}

absl::Status RunBench(Options options) {
  if (options.component == "scheduler") {
    const std::vector<SchedulerBenchResult> results = BenchScheduler(options.scheduler);
    PrintSchedulerBench(options.scheduler, results, std::cout);
    return WriteJsonFile(SchedulerBenchJson(options.scheduler, results), options.json_file);
  }
  if (options.model.model_dir.empty() == options.model.shape.empty()) {
    return absl::InvalidArgumentError("give one of --model and --shape");
  }
  // The same number for the device and for what the machine can do.
  if (options.model.threads == 0) {
    options.model.threads = kernels::UsableCores();
  }
  if (options.dtype == "f32") options.model.compute = kernels::DType::kF32;
  if (options.dtype == "bf16") options.model.compute = kernels::DType::kBF16;
  options.model.kv = kernels::DTypeOf(options.kv_dtype);
  options.model.weights = kernels::WeightFormatOf(options.weights).value();
  QUIRE_ASSIGN_OR_RETURN(const BenchReport report, Measure(options));
  PrintReport(report, std::cout);
  return WriteJsonFile(ReportJson(report), options.json_file);
}

CLI::Option* AddList(CLI::App* app, const char* name, std::vector<int32_t>* values,
                     const char* help) {
  return app->add_option(name, *values, help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
}

void AddSchedulerOptions(CLI::App* app, Options* options) {
  app->add_option("--component", options->component,
                  "What to time: the model's steps, or the scheduler's and block manager's part of "
                  "a step")
      ->check(CLI::IsMember({"model", "scheduler"}))
      ->capture_default_str();
  constexpr char kGroup[] = "--component scheduler";
  AddList(app, "--queued", &options->scheduler.queued, "Requests that wait")->group(kGroup);
  AddList(app, "--tenants", &options->scheduler.tenants, "Tenants that they come from")
      ->group(kGroup);
  app->add_option("--running", options->scheduler.running, "Sequences in a step")
      ->check(CLI::Range(1, 512))
      ->group(kGroup)
      ->capture_default_str();
  app->add_option("--steps", options->scheduler.steps, "Steps to time of each")
      ->check(CLI::Range(1, 1 << 20))
      ->group(kGroup)
      ->capture_default_str();
}

void AddWorkOptions(CLI::App* app, Options* options) {
  AddList(app, "--batch", &options->batches, "Sequences of a decode step");
  AddList(app, "--context", &options->contexts, "Tokens of KV that each of them has");
  AddList(app, "--prompt", &options->prompts, "Prompt lengths for prefill");
  app->add_option("--chunk", options->chunk, "Most prompt tokens a step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--repeat", options->repeat, "Runs of each measurement, after a warm-up")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
}

}  // namespace

Command AddBenchStepCommand(CLI::App* root) {
  auto options = std::make_shared<Options>();
  options->model.kv_limit_bytes = int64_t{4} << 30;
  CLI::App* app = root->add_subcommand("step", "Prefill and decode speed by batch and context");
  auto* source = app->add_option_group("Model");
  source->add_option("--model", options->model.model_dir, "Model directory");
  source->add_option("--shape", options->model.shape,
                     "Known shape with random weights: " + absl::StrJoin(NamedModelShapes(), ", "));
  app->add_option("--dtype", options->dtype, "Compute in this (default: as the checkpoint)")
      ->check(CLI::IsMember({"f32", "bf16"}));
  app->add_option("--weights", options->weights, "Keep the weights in this, as quire-server does")
      ->check(CLI::IsMember({"dense", "int8", "int4"}))
      ->capture_default_str();
  app->add_option("--kv-dtype", options->kv_dtype,
                  "Number type of keys and values; auto: that of the computation")
      ->check(CLI::IsMember({"auto", "bf16", "f32", "int8", "fp8_e4m3"}))
      ->capture_default_str();
  app->add_option("--threads", options->model.threads, "CPU threads (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app->add_option("--cpu-tier", options->model.cpu_tier,
                  "Instruction set on the CPU; auto: the fastest that it has")
      ->check(CLI::IsMember({"auto", "portable", "avx2", "avx512_bf16", "amx"}))
      ->capture_default_str();
  app->add_option("--block-tokens", options->model.block_tokens, "Tokens a KV block")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  app->add_option("--kv-limit", options->model.kv_limit_bytes,
                  "Most memory for KV blocks (default: 4GiB)")
      ->transform(CLI::AsSizeValue(false));
  app->add_flag("--ops", options->model.time_ops, "Also print the time of each operation (CPU)");
  AddWorkOptions(app, options.get());
  AddSchedulerOptions(app, options.get());
  app->add_option("--json", options->json_file, "Also write the result to this file");
  return {app, [options] {
            const absl::Status status = RunBench(*options);
            return status.ok() ? kExitOk : ReportError("quire-bench step", status);
          }};
}

}  // namespace quire::cli
