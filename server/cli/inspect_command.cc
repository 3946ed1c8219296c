#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/base/status_macros.h"
#include "server/cli/commands.h"
#include "server/cli/kv_report.h"
#include "server/cli/model_argument.h"

namespace quire::cli {
namespace {

struct InspectOptions {
  std::string model;
  int32_t block_tokens = 16;
  std::string kv_dtype;
  bool json = false;
};

absl::Status Inspect(const InspectOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, FindModel(options.model));
  QUIRE_RETURN_IF_ERROR(ValidateBlockTokens(options.block_tokens));
  const KvLayouts classes = MakeKvLayouts(
      config, options.block_tokens, ChooseKvDType(options.kv_dtype, config.DefaultComputeType()));
  if (options.json) {
    std::cout << ModelJson(config, classes).dump(2) << '\n';
  } else {
    PrintModel(config, classes, std::cout);
  }
  return absl::OkStatus();
}

}  // namespace

Command AddInspectCommand(CLI::App* root) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* app = root->add_subcommand("inspect", "Show a model's shape and its KV groups");
  app->add_option("model", options->model, FindModelHelp())->required();
  app->add_option("--block-tokens", options->block_tokens, "Tokens a KV block")
      ->capture_default_str();
  app->add_option("--kv-dtype", options->kv_dtype,
                  "Number type of keys and values (default: what the server computes in)")
      ->check(CLI::IsMember(KvDTypeNames()));
  app->add_flag("--json", options->json, "Print one JSON object");
  return {app, [options] {
            const absl::Status status = Inspect(*options);
            return status.ok() ? kExitOk : ReportError("quire inspect", status);
          }};
}

}  // namespace quire::cli
