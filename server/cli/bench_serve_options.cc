#include "server/cli/bench_serve_options.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/metadata_text.h"

namespace quire::cli {
namespace {

constexpr double kLongestSeconds = 86400;
constexpr size_t kMostTenants = 64;

template <typename Number>
CLI::Option* AddNumber(CLI::App* app, const char* name, Number* value, const char* help, double low,
                       double high) {
  return app->add_option(name, *value, help)->check(CLI::Range(low, high))->capture_default_str();
}

void AddServerOptions(CLI::App* app, ServeOptions* options) {
  app->add_option("--target", options->target,
                  "host:port; for openai also a base URL such as http://host:8000/v1")
      ->capture_default_str();
  app->add_option("--api", options->api, "quire (gRPC) or openai (HTTP, /v1/completions)")
      ->check(CLI::IsMember({"quire", "openai"}))
      ->capture_default_str();
  app->add_option("--model", options->model, "Name of the model (default: the server's first)");
  AddNumber(app, "--temperature", &options->temperature, "0: always the likeliest token", 0, 100);
  app->add_flag("--stop-at-eos", options->stop_at_eos,
                "Answers may end early; else ignore_eos is sent");
  AddNumber(app, "--deadline", &options->deadline, "Seconds that a request may take; 0: any", 0,
            kLongestSeconds);
  AddNumber(app, "--connections", &options->connections, "gRPC connections opened before the run",
            1, 1000);
  AddNumber(app, "--connection-streams", &options->connection_streams,
            "Streams on a gRPC connection before one more is opened", 1, 100000);
  AddNumber(app, "--context", &options->context,
            "Most tokens of prompt and output; 0: what the server says", 0, 1 << 24);
  AddNumber(app, "--vocab-size", &options->vocabulary,
            "Prompts are of ids below this; 0: what the server says, else 1000", 0, 1 << 24);
}

void AddLoadOptions(CLI::App* app, ServeOptions* options) {
  TenantSpec& all = options->defaults;
  auto* rate = app->add_option("--rate", all.rate, "Open loop: requests/s of each tenant");
  app->add_option("--concurrency", all.concurrency,
                  "Closed loop: streams of each tenant, each of which sends when its last ended")
      ->excludes(rate);
  app->add_option("--burstiness", all.burstiness,
                  "Open loop: shape of the gamma-distributed intervals; 1: Poisson, below: bursts")
      ->capture_default_str();
  app->add_option("--prompt-tokens", all.prompt.median, "Tokens of a prompt, or their median")
      ->capture_default_str();
  app->add_option("--prompt-sigma", all.prompt.sigma,
                  "Log-normal spread of prompt lengths; 0: all alike; conversations: about 1")
      ->capture_default_str();
  app->add_option("--output-tokens", all.output.median, "Tokens of an answer, or their median")
      ->capture_default_str();
  app->add_option("--output-sigma", all.output.sigma, "The same spread of answer lengths")
      ->capture_default_str();
  app->add_option("--shared-prefix-tokens", all.prefix_tokens,
                  "So many more tokens, always the same, before each prompt")
      ->capture_default_str();
  app->add_flag("--prefix-per-tenant", options->prefix_per_tenant,
                "Each tenant has a shared prefix of its own");
  app->add_option("--key", all.key, "Bearer token");
  app->add_option("--tenant", options->tenants,
                  "name=a,rate=2,burstiness=1,concurrency=8,prompt=128,prompt-sigma=0,output=32,"
                  "output-sigma=0,prefix=0,key=K,priority=1: what is left out is as the options "
                  "for all say; may be given several times")
      ->allow_extra_args(false);
  app->add_option("--tenant-header", options->tenant_header,
                  "Header that carries the name of a --tenant; empty: none")
      ->capture_default_str();
}

void AddRunOptions(CLI::App* app, ServeOptions* options) {
  app->add_option("--seed", options->seed, "Same seed and options, same requests")
      ->capture_default_str();
  AddNumber(app, "--warmup", &options->warmup, "Seconds before what is measured", 0,
            kLongestSeconds);
  app->add_option(
         "--duration", options->duration,
         "Seconds in which measured requests are due (default: 30, or as --requests takes)")
      ->check(CLI::Range(0.001, kLongestSeconds));
  AddNumber(app, "--requests", &options->requests, "End after so many measured requests; 0: none",
            0, 1e9);
  AddNumber(app, "--drain", &options->drain, "Seconds that the last requests may still take", 0,
            kLongestSeconds);
  AddNumber(app, "--retry-pause-ms", &options->retry_pause_ms,
            "Closed loop: pause after a request that was turned down", 1, 60000);
  AddNumber(app, "--max-in-flight", &options->max_in_flight, "Requests under way at a time", 1,
            100000);
  AddNumber(app, "--max-failures", &options->max_failures, "Failures in a row that end the run", 1,
            1000000);
  AddNumber(app, "--max-samples", &options->max_samples,
            "Samples kept of a metric, 4 bytes each, of 5 metrics a tenant and in all; percentiles "
            "are exact up to it, and of a random choice beyond",
            1, 1 << 28);
  app->add_option("--slo-ttft-ms", options->slo_ttft_ms,
                  "Goodput counts requests whose first token came within this")
      ->check(CLI::PositiveNumber);
  app->add_option("--slo-itl-ms", options->slo_itl_ms,
                  "and whose mean time per later token was at most this")
      ->check(CLI::PositiveNumber);
  app->add_option("--json", options->json_file, "Also write the result to this file");
}

absl::Status CheckHeader(const std::string& option, const std::string& name) {
  if (name.empty() || server::IsMetadataKey(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      option, ": '", name, "' is no header's name; it must be ", server::kMetadataKeyRule));
}

absl::StatusOr<std::vector<TenantSpec>> ReadTenants(const ServeOptions& options) {
  std::vector<TenantSpec> tenants;
  for (const std::string& text : options.tenants) {
    auto tenant = ParseTenant(text, options.defaults);
    if (!tenant.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--tenant ", text, ": ", tenant.status().message()));
    }
    tenants.push_back(*std::move(tenant));
  }
  if (tenants.empty()) {
    tenants.push_back(options.defaults);
    tenants.back().name = "default";
  }
  if (tenants.size() > kMostTenants) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kMostTenants, " tenants"));
  }
  std::set<std::string> names;
  for (const TenantSpec& tenant : tenants) {
    QUIRE_RETURN_IF_ERROR(ValidateTenant(tenant));
    if (options.api == "quire" && tenant.priority.value_or(0) < 0) {
      return absl::InvalidArgumentError(absl::StrCat("tenant '", tenant.name, "': a priority of ",
                                                     *tenant.priority,
                                                     " is not 0 or more, as --api quire wants it"));
    }
    if (!names.insert(tenant.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two tenants are named '", tenant.name, "'"));
    }
  }
  return tenants;
}

}  // namespace

void AddServeOptions(CLI::App* app, ServeOptions* options) {
  AddServerOptions(app, options);
  AddLoadOptions(app, options);
  AddRunOptions(app, options);
}

absl::StatusOr<LoadPlan> MakeLoadPlan(const ServeOptions& options) {
  QUIRE_RETURN_IF_ERROR(CheckHeader("--tenant-header", options.tenant_header));
  LoadPlan plan;
  QUIRE_ASSIGN_OR_RETURN(plan.tenants, ReadTenants(options));
  plan.seed = options.seed;
  plan.warmup = FromSeconds(options.warmup);
  plan.duration =
      FromSeconds(options.duration.value_or(options.requests > 0 ? kLongestSeconds : 30));
  plan.max_requests = options.requests;
  plan.retry_pause = FromSeconds(options.retry_pause_ms / 1e3);
  return plan;
}

ClientOptions MakeClientOptions(const ServeOptions& options, const LoadPlan& plan) {
  ClientOptions client;
  client.target = options.target;
  client.model = options.model;
  client.temperature = options.temperature;
  client.ignore_eos = !options.stop_at_eos;
  client.deadline_seconds = options.deadline;
  client.connections = options.connections;
  client.connection_streams = options.connection_streams;
  for (const TenantSpec& tenant : plan.tenants) {
    ClientOptions::Headers headers;
    if (!options.tenants.empty() && !options.tenant_header.empty()) {
      headers.emplace_back(options.tenant_header, tenant.name);
    }
    if (!tenant.key.empty()) headers.emplace_back("authorization", "Bearer " + tenant.key);
    client.tenant_headers.push_back(std::move(headers));
    client.priorities.push_back(tenant.priority);
  }
  return client;
}

RunnerOptions MakeRunnerOptions(const ServeOptions& options) {
  return {.max_in_flight = options.max_in_flight,
          .max_failures = options.max_failures,
          .drain = FromSeconds(options.drain)};
}

Slo MakeSlo(const ServeOptions& options) {
  Slo slo;
  if (options.slo_ttft_ms) slo.ttft_seconds = *options.slo_ttft_ms / 1e3;
  if (options.slo_itl_ms) slo.itl_seconds = *options.slo_itl_ms / 1e3;
  return slo;
}

}  // namespace quire::cli
