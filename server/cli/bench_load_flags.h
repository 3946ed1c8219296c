#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cli/load/load_results.h"
#include "server/cli/load/load_schedule.h"

namespace quire::cli {

// What is asked of a server, whether it is a real one or on paper. Times are in seconds unless the
// name says otherwise.
struct LoadFlags {
  TenantSpec defaults;  // of each tenant; the one tenant where none is named
  std::vector<std::string> tenants;
  bool prefix_per_tenant = false;

  uint64_t seed = 1;
  double warmup = 2;
  std::optional<double> duration;
  int64_t requests = 0;
  double drain = 60;
  double retry_pause_ms = 100;
  int64_t max_samples = 4 << 20;

  std::optional<double> slo_ttft_ms;
  std::optional<double> slo_itl_ms;
};

template <typename Number>
CLI::Option* AddNumber(CLI::App* app, const char* name, Number* value, const char* help, double low,
                       double high) {
  return app->add_option(name, *value, help)->check(CLI::Range(low, high))->capture_default_str();
}

inline constexpr double kLongestSeconds = 86400;

// The load of each tenant. `per`: what rates and streams count for, such as " for each replica", or
// nothing; `fields`: those of --tenant that are the command's own.
void AddTenantFlags(CLI::App* app, LoadFlags* flags, const std::string& per,
                    const std::string& fields);
// When it begins and ends. `per`: what requests count for.
void AddScheduleFlags(CLI::App* app, LoadFlags* flags, const std::string& per);
// What is told of it.
void AddResultFlags(CLI::App* app, LoadFlags* flags);

// What the flags amount to; the error says what makes no sense.
absl::StatusOr<LoadPlan> MakeLoadPlan(const LoadFlags& flags);
Slo MakeSlo(const LoadFlags& flags);

}  // namespace quire::cli
