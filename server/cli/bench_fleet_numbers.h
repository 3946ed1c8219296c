#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/cli/fleet/fleet.h"

// What runs of a fleet come to. Pure.

namespace quire::cli {

// What a tenant had of one run.
struct FleetTenant {
  std::string name;
  double ttft_p50 = 0;  // seconds
  double ttft_p99 = 0;
  double requests_per_second = 0;
  double goodput_per_second = 0;
  TenantFairness fairness;
};

// One run of one policy with one seed, in numbers. Times in seconds; requests and tokens of the
// measured part.
struct FleetNumbers {
  double ttft_p50 = 0, ttft_p90 = 0, ttft_p99 = 0;
  double per_token_p50 = 0, per_token_mean = 0, per_token_p99 = 0;
  double requests_per_second = 0;
  double tokens_per_second = 0;  // generated
  double goodput_per_second = 0;
  double step_seconds = 0, busy = 0;
  double hit_ratio = 0;
  double kv_mean = 0, kv_max = 0;
  double rejected = 0, failed = 0, unfinished = 0, preempted = 0;
  double least_requests = 0, most_requests = 0;
  double least_share = 0;  // of all tenants: what one got, to what it was due; 0: nobody was owed
  double contended = 0;    // part of the measured time
  std::vector<FleetTenant> tenants;
};
FleetNumbers NumbersOf(const FleetResult& result, const LoadPlan& load);

struct FleetRow {
  int32_t replicas = 0;
  std::string policy;
  std::vector<FleetNumbers> seeds;
};

// Of the runs with several seeds.
struct FleetSpread {
  double mean = 0;
  double deviation = 0;  // standard, of one run; 0 where there is one
};
FleetSpread SpreadOf(const std::vector<double>& values);
FleetSpread SpreadOf(const FleetRow& row, double FleetNumbers::*value);

}  // namespace quire::cli
