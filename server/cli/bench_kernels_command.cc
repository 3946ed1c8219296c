#include "server/cli/bench_kernels_command.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "kernels/api/device_factory.h"
#include "kernels/api/dtype_names.h"
#include "server/cli/bench_measure.h"
#include "server/cli/bench_model.h"
#include "server/cli/bench_report.h"
#include "server/cli/model_argument.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

struct Options {
  BenchModelOptions model;
  std::string shape = "llama-3.2-1b";
  std::string dtype = "bf16";
  std::string kv_dtype = "auto";
  std::string weights = "dense";
  std::vector<int32_t> rows = {1, 8, 32, 512};
  std::vector<int32_t> head_dims = {64, 128};
  std::vector<int32_t> heads_per_group = {1, 2, 4, 8};
  int32_t context = 8192;
  int32_t repeat = 20;
  std::string json_file;
};

constexpr int32_t kAttentionHeads = 32;
constexpr int32_t kMostPromptRows = 2048;              // of attention to a whole prompt
constexpr int64_t kLeastKvBytes = int64_t{256} << 20;  // of one layer: more than caches hold
constexpr int64_t kMostBatch = 512;

// An operation in one of its uses.
struct KernelResult {
  std::string use;
  OpTime op;  // of one run
};

// Runs `rows` as a step and returns what its operations took.
absl::StatusOr<std::vector<OpTime>> TimeOps(BenchModel* model, const std::vector<BenchRow>& rows,
                                            int32_t repeat) {
  QUIRE_RETURN_IF_ERROR(model->RunStep(rows));
  model->TakeOpTimes();
  for (int32_t i = 0; i < repeat; ++i) QUIRE_RETURN_IF_ERROR(model->RunStep(rows));
  std::vector<OpTime> ops = model->TakeOpTimes();
  for (OpTime& op : ops) op = op.PerRun(repeat);
  return ops;
}

// All operations of one layer, and of the logits, for different numbers of rows.
absl::Status AddLayer(const Options& options, std::vector<KernelResult>* results) {
  QUIRE_ASSIGN_OR_RETURN(ModelConfig config, FindModel(options.shape));
  config.num_layers = 1;
  config.kv_groups.resize(1);
  const int32_t most = *std::max_element(options.rows.begin(), options.rows.end());
  const BenchSizes sizes = {
      .sequences = most, .step_tokens = most, .context = 16, .kv_blocks = most};
  QUIRE_ASSIGN_OR_RETURN(const auto model,
                         BenchModel::Create(options.model, config, sizes, ShowLoadProgress()));
  for (const int32_t rows : options.rows) {
    // Of sequences of one token each, so that all of them need logits.
    const std::vector<BenchRow> step(static_cast<size_t>(rows), {.tokens = 1, .sample = true});
    QUIRE_ASSIGN_OR_RETURN(const std::vector<OpTime> ops,
                           TimeOps(model.get(), step, options.repeat));
    for (const OpTime& op : ops) {
      if (op.name.starts_with("attention")) continue;  // to one token: not what it is made for
      results->push_back({absl::StrCat(rows, " rows"), op});
    }
  }
  return absl::OkStatus();
}

absl::Status AddAttention(const Options& options, int32_t head_dim, int32_t heads_per_group,
                          std::vector<KernelResult>* results) {
  QUIRE_ASSIGN_OR_RETURN(ModelConfig config, FindModel(options.shape));
  config.num_layers = 1;
  config.hidden_size = config.intermediate_size = config.vocab_size = 64;
  config.num_heads = kAttentionHeads;
  config.kv_groups = {kAttentionHeads / heads_per_group};
  config.head_dim = head_dim;
  config.max_positions = options.context;
  const int32_t prompt = std::min(options.context, kMostPromptRows);
  const int64_t token_bytes = int64_t{4} * config.kv_groups[0] * head_dim;
  const int64_t sequence_bytes = token_bytes * options.context;
  const auto batch = static_cast<int32_t>(
      std::min((kLeastKvBytes + sequence_bytes - 1) / sequence_bytes, kMostBatch));
  const BenchSizes sizes =
      LargestStep({batch}, {options.context}, {prompt}, prompt, options.model.block_tokens);
  QUIRE_ASSIGN_OR_RETURN(const auto model,
                         BenchModel::Create(options.model, config, sizes, nullptr));
  const auto add = [&](const std::string& use, const std::vector<BenchRow>& rows) -> absl::Status {
    QUIRE_ASSIGN_OR_RETURN(const std::vector<OpTime> ops,
                           TimeOps(model.get(), rows, options.repeat));
    for (const OpTime& op : ops) {
      if (op.name.starts_with("attention")) results->push_back({use, op});
    }
    return absl::OkStatus();
  };
  QUIRE_RETURN_IF_ERROR(add(
      absl::StrFormat("decode, %d x %d, %d heads a group", batch, options.context, heads_per_group),
      std::vector<BenchRow>(static_cast<size_t>(batch),
                            {.start = options.context - 1, .tokens = 1, .sample = true})));
  return add(absl::StrFormat("prompt of %d, %d heads a group", prompt, heads_per_group),
             {{.start = 0, .tokens = prompt, .sample = true}});
}

std::string Share(double rate, double limit) {
  return absl::StrFormat("%.0f%%", 100 * rate / limit);
}

void Print(const Options& options, const MachineSpeed& machine,
           const std::vector<KernelResult>& results) {
  std::cout << absl::StrFormat(
      "machine  reads %.1f GB/s; computes %.1f GFLOP/s (%s); %d threads; load average %.1f\n"
      "Mean of %d runs. %%: of what the machine reads and computes.\n\n",
      machine.read_bytes_per_second / 1e9, machine.flops_per_second / 1e9, machine.flops_with,
      options.model.threads, machine.load_average, options.repeat);
  TextTable table({"operation", "use", "us", "GB/s", "%", "GFLOP/s", "%"});
  for (const KernelResult& result : results) {
    const OpTime& op = result.op;
    std::vector<std::string> row = {op.name, result.use, absl::StrFormat("%.1f", op.seconds * 1e6)};
    if (op.flops > 0) {
      const double bytes = op.bytes / op.seconds, flops = op.flops / op.seconds;
      row.insert(row.end(),
                 {absl::StrFormat("%.1f", bytes / 1e9), Share(bytes, machine.read_bytes_per_second),
                  absl::StrFormat("%.1f", flops / 1e9), Share(flops, machine.flops_per_second)});
    } else {
      row.insert(row.end(), {"", "", "", ""});
    }
    table.AddRow(std::move(row));
  }
  table.Print(std::cout);
}

nlohmann::ordered_json Json(const MachineSpeed& machine, const std::vector<KernelResult>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const KernelResult& result : results) {
    nlohmann::ordered_json op = OpJson(result.op);
    op["use"] = result.use;
    list.push_back(std::move(op));
  }
  return {{"machine", MachineJson(machine)}, {"results", std::move(list)}};
}

absl::Status Run(Options options) {
  options.model.time_ops = true;
  if (options.model.threads == 0) options.model.threads = kernels::UsableCores();
  options.model.compute = kernels::DTypeOf(options.dtype);
  options.model.kv = kernels::DTypeOf(options.kv_dtype);
  options.model.weights = kernels::WeightFormatOf(options.weights).value();
  const MachineSpeed machine =
      MeasureMachine(options.model.threads, *options.model.compute, options.model.weights);
  std::vector<KernelResult> results;
  QUIRE_RETURN_IF_ERROR(AddLayer(options, &results));
  for (const int32_t head_dim : options.head_dims) {
    for (const int32_t heads : options.heads_per_group) {
      QUIRE_RETURN_IF_ERROR(AddAttention(options, head_dim, heads, &results));
      std::cerr << "attention: head_dim " << head_dim << ", " << heads << " heads a group: done\n";
    }
  }
  Print(options, machine, results);
  return WriteJsonFile(Json(machine, results), options.json_file);
}

}  // namespace

Command AddBenchKernelsCommand(CLI::App* root) {
  auto options = std::make_shared<Options>();
  options->model.kv_limit_bytes = int64_t{4} << 30;
  CLI::App* app = root->add_subcommand(
      "kernels", "Each operation of a step on the CPU, as a share of what the machine can do");
  app->add_option("--shape", options->shape, FindModelHelp())->capture_default_str();
  app->add_option("--dtype", options->dtype, "Compute in this")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app->add_option("--weights", options->weights, "Keep the weights in this")
      ->check(CLI::IsMember({"dense", "int8", "int4"}))
      ->capture_default_str();
  app->add_option("--kv-dtype", options->kv_dtype,
                  "Number type of keys and values; auto: that of the computation")
      ->check(CLI::IsMember({"auto", "bf16", "f32", "int8"}))
      ->capture_default_str();
  app->add_option("--threads", options->model.threads, "CPU threads (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app->add_option("--cpu-tier", options->model.cpu_tier,
                  "Instruction set; auto: the fastest that the CPU has")
      ->check(CLI::IsMember({"auto", "portable", "avx2", "avx512_bf16", "amx"}))
      ->capture_default_str();
  app->add_option("--rows", options->rows, "Rows of the linear layers and what is beside them")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app->add_option("--head-dim", options->head_dims, "Sizes of a head, for attention")
      ->delimiter(',')
      ->check(CLI::Range(16, 256))
      ->capture_default_str();
  app->add_option("--heads-per-group", options->heads_per_group,
                  "Query heads that share a KV group, of 32")
      ->delimiter(',')
      ->check(CLI::IsMember({1, 2, 4, 8, 16, 32}))
      ->capture_default_str();
  app->add_option("--context", options->context, "Tokens of KV that decode attends to")
      ->check(CLI::Range(16, 131072))
      ->capture_default_str();
  app->add_option("--repeat", options->repeat, "Runs of each, after a warm-up")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app->add_option("--json", options->json_file, "Also write the result to this file");
  return {app, [options] {
            const absl::Status status = Run(*options);
            return status.ok() ? kExitOk : ReportError("quire-bench kernels", status);
          }};
}

}  // namespace quire::cli
