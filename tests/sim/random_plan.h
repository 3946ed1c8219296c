#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "core/request/tenant_policy.h"
#include "tests/support/engine_harness.h"

namespace quire::testing {

// What one simulation is made of.
struct SimulationPlan {
  EngineHarness::Options options;
  TenantTable tenants;
  int requests = 0;
  int longest_prompt = 0, longest_answer = 0;
  double cancel_share = 0;
  double pause_share = 0;   // of requests and steps: its client stops reading
  double reload_share = 0;  // of steps
  double deadline_share = 0;
  int drain_step = -1;  // from then on nothing is accepted
  int abort_step = -1;  // what is live then is ended
};

// Draws plans: pools from starved to ample, loads from light to heavy, all kinds of policies.
class RandomPlan {
 public:
  explicit RandomPlan(std::mt19937_64* rng) : rng_(rng) {}

  SimulationPlan MakePlan();
  // With a reserve of at most `most_reserved`.
  TenantPolicy Tenant(size_t index, int64_t most_reserved);

 private:
  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(*rng_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(*rng_); }
  std::vector<int32_t> Windows();
  void AddSwapping(EngineHarness::Options* o);

  std::mt19937_64* const rng_;
};

}  // namespace quire::testing
