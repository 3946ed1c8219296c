#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "server/cli/commands.h"
#include "server/cli/kv_report.h"

namespace quire::cli {
namespace {

struct InspectOptions {
  std::string model;
  int32_t block_tokens = 16;
  std::string kv_dtype;
  std::vector<int64_t> memory = {int64_t{1} << 30, int64_t{4} << 30, int64_t{16} << 30,
                                 int64_t{80} << 30};
  std::vector<int32_t> contexts;
  bool json = false;
};

absl::StatusOr<ModelConfig> FindModel(const std::string& model) {
  if (std::filesystem::exists(model)) return LoadModelConfig(model);
  absl::StatusOr<ModelConfig> shape = NamedModelShape(model);
  if (shape.ok()) return shape;
  return absl::NotFoundError(absl::StrCat("'", model, "' is neither a model directory nor one of ",
                                          absl::StrJoin(NamedModelShapes(), ", ")));
}

// What the server would choose: the type that it computes in.
kernels::DType ChooseKvDType(const InspectOptions& options, const ModelConfig& config) {
  for (kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kF16, kernels::DType::kBF16,
                               kernels::DType::kF8E4M3}) {
    if (options.kv_dtype == kernels::DTypeName(dtype)) return dtype;
  }
  return config.DefaultComputeType();
}

absl::StatusOr<std::vector<int32_t>> ChooseContexts(const InspectOptions& options,
                                                    const ModelConfig& config) {
  if (options.contexts.empty()) return DefaultContexts(config.max_positions);
  for (int32_t context : options.contexts) {
    if (context < 1 || context > config.max_positions) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--context ", context, ": this model takes 1 to ", config.max_positions, " tokens"));
    }
  }
  return options.contexts;
}

absl::Status CheckMemory(const std::vector<int64_t>& sizes) {
  for (int64_t bytes : sizes) {
    if (bytes < 1) return absl::InvalidArgumentError("--memory: sizes must be above 0");
  }
  return absl::OkStatus();
}

absl::Status Inspect(const InspectOptions& options) {
  QUIRE_RETURN_IF_ERROR(CheckMemory(options.memory));
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, FindModel(options.model));
  QUIRE_RETURN_IF_ERROR(ValidateBlockTokens(options.block_tokens));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int32_t> contexts, ChooseContexts(options, config));
  const KvLayouts classes =
      MakeKvLayouts(config, options.block_tokens, ChooseKvDType(options, config));
  if (options.json) {
    std::cout << ModelJson(config, classes, options.memory, contexts).dump(2) << '\n';
  } else {
    PrintModel(config, classes, std::cout);
    std::cout << '\n';
    PrintCapacity(classes, options.memory, contexts, std::cout);
  }
  return absl::OkStatus();
}

}  // namespace

Command AddInspectCommand(CLI::App* root) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* app = root->add_subcommand(
      "inspect", "Show a model's shape, its KV groups, and what fits in memory");
  app->add_option("model", options->model,
                  "Model directory, or a known shape: " + absl::StrJoin(NamedModelShapes(), ", "))
      ->required();
  app->add_option("--block-tokens", options->block_tokens, "Tokens a KV block")
      ->capture_default_str();
  app->add_option("--kv-dtype", options->kv_dtype,
                  "Number type of keys and values (default: what the server computes in)")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "fp8_e4m3"}));
  app->add_option("--memory", options->memory, "Sizes of the KV cache, such as 1GiB,16GiB")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(CLI::AsSizeValue(false));
  app->add_option("--context", options->contexts, "Context lengths in tokens")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_flag("--json", options->json, "Print one JSON object");
  return {app, [options] {
            const absl::Status status = Inspect(*options);
            return status.ok() ? kExitOk : ReportError("quire inspect", status);
          }};
}

}  // namespace quire::cli
