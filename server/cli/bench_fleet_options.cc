#include "server/cli/bench_fleet_options.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/capacity/model_kv_layout.h"
#include "kernels/api/dtype_names.h"

namespace quire::cli {
namespace {

// Engine and KV of a measurement need no more: what steps cost shows with less.
constexpr int64_t kMostFitBytes = int64_t{2} << 30;

void AddModelOptions(CLI::App* app, FleetFlags* flags) {
  auto* source = app->add_option_group("Model");
  source->add_option("--model", flags->model.model_dir, "Model directory");
  source->add_option("--shape", flags->model.shape,
                     "Known shape with random weights: " + absl::StrJoin(NamedModelShapes(), ", "));
  source->require_option(1);
  app->add_option("--step-times", flags->step_times_file,
                  "How long a step takes, as --write-step-times writes it, such as for a GPU; "
                  "default: steps are measured on this machine");
  app->add_option("--write-step-times", flags->write_step_times_file,
                  "Write what was measured to this file");
  AddNumber(app, "--fit-seconds", &flags->fit_seconds, "How long to measure", 0, 600);
  app->add_option("--threads", flags->model.threads,
                  "CPU threads of the measured steps (default: all cores)")
      ->check(CLI::Range(1, 1024));
  app->add_option("--cpu-tier", flags->model.cpu_tier,
                  "Instruction set of the measured steps; auto: the fastest that there is")
      ->check(CLI::IsMember({"auto", "portable", "avx2", "avx512_bf16", "amx"}))
      ->capture_default_str();
  app->add_option("--dtype", flags->dtype, "Compute in this (default: as the checkpoint)")
      ->check(CLI::IsMember({"f32", "bf16"}));
  app->add_option("--weights", flags->weights, "Keep the weights in this, as quire-server does")
      ->check(CLI::IsMember({"dense", "int8", "int4"}))
      ->capture_default_str();
  app->add_option("--kv-dtype", flags->kv_dtype,
                  "Number type of keys and values; auto: that of the computation")
      ->check(CLI::IsMember({"auto", "bf16", "f32", "int8", "fp8_e4m3"}))
      ->capture_default_str();
}

void AddEngineOptions(CLI::App* app, FleetFlags* flags) {
  EngineOptions& engine = flags->engine;
  AddNumber(app, "--max-step-tokens", &engine.max_step_tokens, "Query tokens that a step computes",
            1, 1 << 20);
  AddNumber(app, "--max-running", &engine.max_running_requests, "Requests in one step", 1, 65536);
  AddNumber(app, "--max-prefill-beside-decode", &engine.max_prefill_beside_decode,
            "Prompt tokens that a step computes beside requests that are being answered; 0: no "
            "limit but that of the step",
            0, 1 << 20);
  AddNumber(app, "--max-queued", &engine.max_queued_requests,
            "Requests that may wait on a replica; more are refused", 1, 1 << 20);
  AddNumber(app, "--max-queued-tokens", &engine.max_queued_tokens,
            "Prompt tokens that may wait on a replica; more are refused", 1,
            static_cast<double>(int64_t{1} << 40));
  app->add_flag("--overcommit", engine.overcommit,
                "Promise KV memory as it is used, not what a request may need in the end");
  AddNumber(app, "--max-context", &engine.max_context_tokens,
            "Tokens of prompt and answer together; 0: what the model allows", 0, 1 << 24);
  app->add_option("--kv-memory", flags->kv_memory, "KV cache of a replica (default: 1GiB)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app->add_option("--block-tokens", flags->model.block_tokens, "Tokens in a KV block")
      ->check(CLI::IsMember({16, 32, 64, 128, 256, 512}))
      ->capture_default_str();
  app->add_flag("--prefix-cache,!--no-prefix-cache", flags->prefix_cache,
                "Keys and values that were computed serve requests that begin with the same "
                "tokens (default: on)");
  AddNumber(app, "--overhead-us", &flags->overhead_us,
            "Microseconds of a step outside the model: scheduling, handing tokens out", 0, 1e6);
  AddNumber(app, "--round-trip-us", &flags->round_trip_us,
            "Microseconds from a client to the engine and back", 0, 1e7);
}

void AddRoutingOptions(CLI::App* app, FleetFlags* flags) {
  app->add_option("--replicas", flags->replicas, "Sizes of the fleet to compare")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  std::vector<std::string> policies = RouterNames();
  policies.insert(policies.begin(), "all");
  app->add_option("--policy", flags->policies, "Which replica gets a request")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(policies))
      ->capture_default_str();
  AddNumber(app, "--view-seconds", &flags->view_seconds,
            "How often the router asks each replica for its load, and knows nothing in between; 0: "
            "it knows",
            0, 3600);
  AddNumber(app, "--affinity-tokens", &flags->router.prefix_tokens,
            "prefix-affinity: tokens of a prompt that decide where it goes", 1, 1 << 20);
  AddNumber(app, "--affinity-slack", &flags->router.slack,
            "prefix-affinity: a replica with more than 1 + this times the mean load is passed", 0,
            1000);
  AddNumber(app, "--seeds", &flags->seeds,
            "Runs with so many seeds, from --seed on: their mean and standard deviation", 1, 1000);
}

// What all replicas of a fleet are asked for, where flags say it for each.
absl::Status MultiplyLoad(int32_t replicas, LoadPlan* plan) {
  plan->max_requests *= replicas;
  for (TenantSpec& tenant : plan->tenants) {
    const int64_t streams = int64_t{tenant.concurrency} * replicas;
    constexpr int64_t kMostStreams = 10'000'000;
    if (streams > kMostStreams) {
      return absl::InvalidArgumentError(absl::StrCat("tenant '", tenant.name, "': ", streams,
                                                     " streams are more than ", kMostStreams));
    }
    tenant.concurrency = static_cast<int32_t>(streams);
    tenant.rate *= replicas;
  }
  return absl::OkStatus();
}

absl::StatusOr<TenantTable> MakeTenants(const LoadPlan& plan) {
  TenantTable table;
  for (const TenantSpec& tenant : plan.tenants) {
    if (!tenant.key.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tenant '", tenant.name, "': there is no server here to show a key"));
    }
    if (tenant.priority.value_or(0) < 0) {
      return absl::InvalidArgumentError(absl::StrCat("tenant '", tenant.name, "': a priority of ",
                                                     *tenant.priority, " is not 0 or more"));
    }
    TenantPolicy& policy = table.emplace_back();
    policy.name = tenant.name;
    policy.weight = tenant.weight.value_or(1);
    policy.max_priority = std::min(tenant.priority.value_or(0), 10000);
  }
  QUIRE_RETURN_IF_ERROR(ValidateTenants(table));
  return table;
}

kernels::DType ComputeType(const FleetFlags& flags, const ModelConfig& config) {
  return kernels::DTypeOf(flags.dtype).value_or(config.DefaultComputeType());
}

absl::StatusOr<ReplicaOptions> MakeReplica(const FleetFlags& flags, const ModelConfig& config) {
  if (!config.windows.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        config.name, " has layers with a window, whose part of a step's time is not modelled"));
  }
  ReplicaOptions replica;
  replica.engine = flags.engine;
  int32_t& context = replica.engine.max_context_tokens;
  if (context == 0) context = config.max_positions;
  if (context > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--max-context ", context, ": ", config.name,
                                                   " takes ", config.max_positions, " tokens"));
  }
  QUIRE_RETURN_IF_ERROR(replica.engine.Validate());
  QUIRE_RETURN_IF_ERROR(ValidateBlockTokens(flags.model.block_tokens));
  const kernels::DType kv = kernels::DTypeOf(flags.kv_dtype).value_or(ComputeType(flags, config));
  replica.layouts = {MakeKvLayout(config, flags.model.block_tokens, kv)};
  replica.kv_bytes = flags.kv_memory;
  const auto block = static_cast<int64_t>(replica.layouts[0].BlockBytes());
  if (flags.kv_memory < block) {
    return absl::InvalidArgumentError(
        absl::StrCat("--kv-memory: a block of KV takes ", block, " bytes"));
  }
  replica.prefix_cache = flags.prefix_cache;
  replica.overhead = FromSeconds(flags.overhead_us / 1e6);
  replica.one_way = FromSeconds(flags.round_trip_us / 2e6);
  return replica;
}

}  // namespace

void AddFleetOptions(CLI::App* app, FleetFlags* flags) {
  AddModelOptions(app, flags);
  AddRoutingOptions(app, flags);
  AddEngineOptions(app, flags);
  AddTenantFlags(app, flags, " for each replica", "weight=1");
  AddScheduleFlags(app, flags, " for each replica");
  app->add_flag("--whole-fleet", flags->whole_fleet,
                "Rates, streams and requests are of the fleet, not for each replica");
  AddResultFlags(app, flags);
  app->add_option("--json", flags->json_file, "Also write the result to this file");
  app->add_option("--svg", flags->svg_file, "Also draw it to this file");
}

std::vector<std::string> PoliciesOf(const FleetFlags& flags) {
  std::vector<std::string> policies;
  for (const std::string& name : RouterNames()) {
    const bool wanted = std::any_of(flags.policies.begin(), flags.policies.end(),
                                    [&](const std::string& w) { return w == "all" || w == name; });
    if (wanted) policies.push_back(name);
  }
  return policies;
}

absl::StatusOr<FleetOptions> MakeFleet(const FleetFlags& flags, const ModelConfig& config,
                                       const StepTimeModel& times, int32_t replicas,
                                       uint64_t seed) {
  FleetOptions fleet;
  QUIRE_ASSIGN_OR_RETURN(fleet.load, MakeLoadPlan(flags));
  fleet.load.seed = seed;
  QUIRE_ASSIGN_OR_RETURN(fleet.replica, MakeReplica(flags, config));
  QUIRE_ASSIGN_OR_RETURN(fleet.replica.tenants, MakeTenants(fleet.load));
  QUIRE_RETURN_IF_ERROR(
      CheckFits(fleet.load, {.context_tokens = fleet.replica.engine.max_context_tokens}));
  if (!flags.whole_fleet) QUIRE_RETURN_IF_ERROR(MultiplyLoad(replicas, &fleet.load));
  fleet.replica.times = times;
  fleet.replicas = static_cast<size_t>(replicas);
  fleet.view_period = FromSeconds(flags.view_seconds);
  fleet.drain = FromSeconds(flags.drain);
  fleet.slo = MakeSlo(flags);
  fleet.max_samples = static_cast<size_t>(flags.max_samples);
  return fleet;
}

FitOptions MakeFitOptions(const FleetFlags& flags, const FleetOptions& fleet) {
  FitOptions fit;
  fit.model = flags.model;
  if (!flags.dtype.empty()) fit.model.compute = kernels::DTypeOf(flags.dtype);
  fit.model.kv = kernels::DTypeOf(flags.kv_dtype);
  fit.model.weights = kernels::WeightFormatOf(flags.weights).value();
  fit.max_running = fleet.replica.engine.max_running_requests;
  fit.max_step_tokens = fleet.replica.engine.max_step_tokens;
  fit.kv_bytes = std::min(flags.kv_memory, kMostFitBytes);
  fit.seconds = flags.fit_seconds;
  double longest = 0;
  for (const TenantSpec& tenant : fleet.load.tenants) {
    // Two deviations: of each length one in 40 is longer.
    const auto usual = [](const LengthLaw& law) { return law.median * std::exp(2 * law.sigma); };
    longest = std::max(longest, tenant.prefix_tokens + usual(tenant.prompt) + usual(tenant.output));
  }
  const int32_t context = fleet.replica.engine.max_context_tokens;
  const auto held = flags.kv_memory / static_cast<int64_t>(fleet.replica.layouts[0].TokenBytes());
  fit.longest_context = static_cast<int32_t>(
      std::clamp(longest, 2.0, static_cast<double>(std::min<int64_t>(context, held))));
  return fit;
}

}  // namespace quire::cli
