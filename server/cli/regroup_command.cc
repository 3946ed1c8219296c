#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/capacity/model_kv_layout.h"
#include "core/regroup/regroup.h"
#include "server/cli/commands.h"
#include "server/cli/interrupt_canceller.h"
#include "server/cli/kv_report.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

constexpr char kUptraining[] =
    "Its answers are worse than the original's until it has been trained further: the paper "
    "(Ainslie et al., 2023) takes about 5 % of the pretraining steps.";

constexpr char kListOfQuire[] =
    "num_key_value_heads in its config.json is a list, one number a layer: Quire reads that, other "
    "programs do not.";

struct RegroupCommandOptions {
  RegroupOptions regroup;
  std::string method = "mean";
  std::optional<uint64_t> seed;
  bool json = false;
};

PoolMethod MethodOf(const std::string& name) {
  for (PoolMethod method : {PoolMethod::kFirst, PoolMethod::kRandom}) {
    if (name == PoolMethodName(method)) return method;
  }
  return PoolMethod::kMean;
}

// On a terminal a line that replaces the one before, elsewhere one every few seconds.
class ProgressPrinter {
 public:
  void Print(const RegroupProgress& progress) {
    const std::string text = absl::StrFormat(
        "regrouping: %d of %d tensors, %s of %s", progress.tensors_done, progress.tensors,
        FormatBytes(progress.bytes_done), FormatBytes(progress.bytes));
    if (on_terminal_) {
      shown_ = true;
      std::cerr << '\r' << text << "\033[K" << std::flush;
      return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < kInterval) return;
    last_ = now;
    std::cerr << text << '\n';
  }
  ~ProgressPrinter() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
  }

 private:
  static constexpr std::chrono::seconds kInterval{5};
  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

kernels::DType KvType(const RegroupResult& result) { return result.before.DefaultComputeType(); }

int64_t KvBytesPerToken(const ModelConfig& config) {
  return static_cast<int64_t>(TokenBytes(MakeKvLayouts(config, 16, config.DefaultComputeType())));
}

std::string List(const std::vector<std::string>& names) { return absl::StrJoin(names, ", "); }

void PrintResult(const RegroupCommandOptions& options, const RegroupResult& result) {
  std::cout << "before        " << DescribeAttention(result.before) << '\n'
            << "after         " << DescribeAttention(result.after) << '\n'
            << "KV per token  " << FormatBytes(KvBytesPerToken(result.before)) << " -> "
            << FormatBytes(KvBytesPerToken(result.after)) << " ("
            << kernels::DTypeName(KvType(result)) << ")\n"
            << absl::StrFormat("written       %s: %s of weights, %d of %d tensors changed\n",
                               options.regroup.output_dir, FormatBytes(result.bytes),
                               result.changed_tensors, result.tensors);
  if (!result.left_out.empty()) std::cout << "not copied    " << List(result.left_out) << '\n';
  std::cout << '\n' << kUptraining << '\n';
  if (result.list_of_quire) std::cout << kListOfQuire << '\n';
}

void PrintJson(const RegroupCommandOptions& options, const RegroupResult& result) {
  nlohmann::ordered_json json = {
      {"model", options.regroup.model_dir},
      {"output", options.regroup.output_dir},
      {"method", PoolMethodName(options.regroup.method)},
      {"kv_groups", {{"before", result.before.kv_groups}, {"after", result.after.kv_groups}}},
      {"config_for_quire_alone", result.list_of_quire},
      {"kv_bytes_per_token",
       {{"before", KvBytesPerToken(result.before)}, {"after", KvBytesPerToken(result.after)}}},
      {"kv_dtype", kernels::DTypeName(KvType(result))},
      {"tensors", result.tensors},
      {"changed_tensors", result.changed_tensors},
      {"weight_bytes", result.bytes},
      {"weight_files", result.weight_files},
      {"copied_files", result.copied},
      {"left_out", result.left_out},
      {"note", kUptraining}};
  if (options.regroup.method == PoolMethod::kRandom) json["seed"] = options.regroup.seed;
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  std::cout << json.dump(2, ' ', /*ensure_ascii=*/false, kReplace) << '\n';
}

int RunRegroup(RegroupCommandOptions* options) {
  options->regroup.method = MethodOf(options->method);
  if (options->seed.has_value() && options->regroup.method != PoolMethod::kRandom) {
    return ReportError("quire regroup", absl::InvalidArgumentError(
                                            "--seed is for --method random alone; leave it out"));
  }
  options->regroup.seed = options->seed.value_or(0);
  absl::StatusOr<RegroupResult> result = absl::UnknownError("");
  {
    const InterruptCanceller interrupt([] {});
    ProgressPrinter printer;
    result = Regroup(options->regroup, [&](const RegroupProgress& progress) {
      printer.Print(progress);
      return !interrupt.interrupted();
    });
  }
  if (absl::IsCancelled(result.status())) {
    std::cerr << "quire regroup: interrupted; what was written is removed\n";
    return kExitInterrupted;
  }
  if (!result.ok()) return ReportError("quire regroup", result.status());
  if (options->json) {
    PrintJson(*options, *result);
  } else {
    PrintResult(*options, *result);
  }
  return kExitOk;
}

void AddGroupOptions(CLI::App* app, RegroupOptions* options) {
  CLI::Option_group* groups = app->add_option_group("KV groups", "How many there are to be");
  groups->add_option("--groups", options->groups, "In every layer; 1: MQA")
      ->check(CLI::PositiveNumber);
  groups
      ->add_option("--groups-per-layer", options->groups_per_layer,
                   "Layer by layer, such as 8,4,4,2; 0 for a layer without attention")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::NonNegativeNumber);
  groups->require_option(1);
}

}  // namespace

Command AddRegroupCommand(CLI::App* root) {
  auto options = std::make_shared<RegroupCommandOptions>();
  CLI::App* app = root->add_subcommand(
      "regroup", "Make a checkpoint with fewer KV groups: neighbouring K and V heads become one");
  app->add_option("model", options->regroup.model_dir,
                  "Hugging Face directory with safetensors, not quantized")
      ->required();
  app->add_option("output", options->regroup.output_dir, "New or empty directory")->required();
  AddGroupOptions(app, &options->regroup);
  app->add_option("--method", options->method,
                  "What the heads of a group become: their mean, the first of them, or, to compare "
                  "with, random weights as widely spread")
      ->check(CLI::IsMember({"mean", "first", "random"}))
      ->capture_default_str();
  app->add_option("--seed", options->seed, "Of --method random (default: 0)");
  app->add_option("--max-shard-size", options->regroup.max_shard_bytes,
                  "Most bytes of tensors in a file, such as 2GiB")
      ->transform(CLI::AsSizeValue(false))
      ->default_str("5GiB");
  app->add_flag("--json", options->json, "Print one JSON object");
  return {app, [options] { return RunRegroup(options.get()); }};
}

}  // namespace quire::cli
