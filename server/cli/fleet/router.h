#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cli/fleet/replica_state.h"

// Which replica gets a request. Pure but for whose turn it is.

namespace quire::cli {

struct RoutedRequest {
  size_t tenant = 0;
  std::span<const uint32_t> prompt;
};

// By replica; at least one.
using FleetView = std::span<const ReplicaState* const>;

class Router {
 public:
  virtual ~Router() = default;
  virtual size_t Choose(const RoutedRequest& request, FleetView view) = 0;
};

struct RouterOptions {
  // Prefix affinity: how much of a prompt decides which replica is its home. What is shorter counts
  // whole.
  int32_t prefix_tokens = 64;
  // A replica with more than (1 + slack) times the mean load takes nothing by affinity.
  double slack = 0.25;
};

// The names that MakeRouter takes:
//   round-robin      one after the other
//   least-kv         the least KV promised and prompt tokens queued
//   prefix-affinity  prompts that begin alike, of one tenant, go to one replica: the one whose hash
//                    with the beginning is highest (rendezvous hashing, Thaler and Ravishankar,
//                    1998), of those whose load is within a bound of the mean (Mirrokni, Thorup and
//                    Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018)
//   tenant-aware     each tenant's tokens even over the replicas, then all tenants' together
// Where several are equally good, the next after the one that was chosen last.
const std::vector<std::string>& RouterNames();
// NotFound lists the names.
absl::StatusOr<std::unique_ptr<Router>> MakeRouter(const std::string& name,
                                                   const RouterOptions& options);

}  // namespace quire::cli
