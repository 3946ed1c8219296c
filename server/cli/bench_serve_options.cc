#include "server/cli/bench_serve_options.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "server/metadata_text.h"

namespace quire::cli {
namespace {

void AddServerOptions(CLI::App* app, ServeOptions* options) {
  app->add_option("--target", options->target,
                  "host:port; for openai also a base URL such as http://host:8000/v1")
      ->capture_default_str();
  app->add_option("--api", options->api, "quire (gRPC) or openai (HTTP, /v1/completions)")
      ->check(CLI::IsMember({"quire", "openai"}))
      ->capture_default_str();
  AddTlsOptions(app, &options->tls);
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

absl::Status CheckHeader(const std::string& option, const std::string& name) {
  if (name.empty() || server::IsMetadataKey(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      option, ": '", name, "' is no header's name; it must be ", server::kMetadataKeyRule));
}

absl::Status CheckTenant(const ServeOptions& options, const TenantSpec& tenant) {
  if (options.api == "quire" && tenant.priority.value_or(0) < 0) {
    return absl::InvalidArgumentError(absl::StrCat("tenant '", tenant.name, "': a priority of ",
                                                   *tenant.priority,
                                                   " is not 0 or more, as --api quire wants it"));
  }
  if (!tenant.weight.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "tenant '", tenant.name, "': its weight is the server's to say, in the file of --config"));
}

}  // namespace

void AddServeOptions(CLI::App* app, ServeOptions* options) {
  AddServerOptions(app, options);
  AddTenantFlags(app, options, "", "key=K");
  app->add_option("--key", options->defaults.key, "Bearer token");
  app->add_option("--tenant-header", options->tenant_header,
                  "Header that carries the name of a --tenant; empty: none")
      ->capture_default_str();
  AddScheduleFlags(app, options, "");
  AddNumber(app, "--max-in-flight", &options->max_in_flight, "Requests under way at a time", 1,
            100000);
  AddNumber(app, "--max-failures", &options->max_failures, "Failures in a row that end the run", 1,
            1000000);
  AddResultFlags(app, options);
  app->add_option("--json", options->json_file, "Also write the result to this file");
}

absl::StatusOr<LoadPlan> MakeServePlan(const ServeOptions& options) {
  if (options.tls.on && absl::StartsWithIgnoreCase(options.target, "http://")) {
    return absl::InvalidArgumentError(absl::StrCat("--tls: --target is '", options.target,
                                                   "'; give host:port, or https:// for openai"));
  }
  QUIRE_RETURN_IF_ERROR(CheckHeader("--tenant-header", options.tenant_header));
  QUIRE_ASSIGN_OR_RETURN(LoadPlan plan, MakeLoadPlan(options));
  for (const TenantSpec& tenant : plan.tenants) {
    QUIRE_RETURN_IF_ERROR(CheckTenant(options, tenant));
  }
  return plan;
}

ClientOptions MakeClientOptions(const ServeOptions& options, const LoadPlan& plan) {
  ClientOptions client;
  client.target = options.target;
  client.model = options.model;
  client.temperature = options.temperature;
  client.ignore_eos = !options.stop_at_eos;
  client.deadline_seconds = options.deadline;
  client.tls = options.tls;
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

}  // namespace quire::cli
