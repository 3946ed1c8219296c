#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/cli/bench_load_flags.h"
#include "server/cli/load/load_client.h"
#include "server/cli/load/load_runner.h"
#include "server/cli/load/load_schedule.h"

namespace quire::cli {

// The command line of `quire-bench serve`. Times are in seconds unless the name says otherwise.
struct ServeOptions : LoadFlags {
  std::string api = "quire";
  std::string target = "127.0.0.1:50051";
  std::string model;
  double temperature = 0;
  bool stop_at_eos = false;
  double deadline = 0;
  TlsOptions tls{.key_flag = "--cert-key"};  // --key is a tenant's
  int32_t connections = 4;
  int32_t connection_streams = 100;
  int32_t context = 0;  // 0: what the server says
  int32_t vocabulary = 0;

  std::string tenant_header = "x-quire-tenant";
  int32_t max_in_flight = 10000;
  int32_t max_failures = 100;
  std::string json_file;
};

void AddServeOptions(CLI::App* app, ServeOptions* options);

// What the options amount to; the error says what makes no sense.
absl::StatusOr<LoadPlan> MakeServePlan(const ServeOptions& options);
ClientOptions MakeClientOptions(const ServeOptions& options, const LoadPlan& plan);
RunnerOptions MakeRunnerOptions(const ServeOptions& options);

}  // namespace quire::cli
