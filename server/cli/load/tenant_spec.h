#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/cli/load/load_laws.h"

namespace quire::cli {

// One tenant's load. Exactly one of rate and concurrency is > 0 once it has been validated.
struct TenantSpec {
  std::string name = {};
  double rate = 0;          // open loop: requests per second
  double burstiness = 1;    // open loop: see IntervalLaw
  int32_t concurrency = 0;  // closed loop: each of so many streams sends when its last one ended
  LengthLaw prompt = {.median = 128};  // without the shared prefix
  LengthLaw output = {.median = 32};
  int32_t prefix_tokens = 0;
  std::string key = {};  // sent as a bearer token; empty: none
  std::optional<int32_t> priority = {};
  std::optional<double> weight = {};  // its share beside others, where there is no server to say it
};

// Reads "name=a,rate=2,burstiness=0.5,concurrency=8,prompt=128,prompt-sigma=1,output=32,
// output-sigma=1,prefix=0,key=...,priority=...,weight=..."; what is left out is as in `defaults`,
// except that a rate replaces a concurrency and the other way round. Only the name is required.
absl::StatusOr<TenantSpec> ParseTenant(std::string_view text, const TenantSpec& defaults);

// What makes no sense on its own: a load that never sends, a length out of range.
absl::Status ValidateTenant(const TenantSpec& tenant);

}  // namespace quire::cli
