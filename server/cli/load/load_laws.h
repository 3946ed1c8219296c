#pragma once

#include <cstdint>
#include <random>
#include <string_view>

namespace quire::cli {

// An independent random sequence for each purpose: what one of them draws changes no other. `index`
// tells tenants or requests apart.
uint64_t DeriveSeed(uint64_t seed, std::string_view purpose, uint64_t index);

// Seconds between the arrivals of an open loop: gamma-distributed with mean 1 / rate and a squared
// coefficient of variation of 1 / burstiness. 1 is a Poisson process; below, arrivals come in
// bursts; above, they come more evenly. Both are > 0. Not thread-safe.
class IntervalLaw {
 public:
  IntervalLaw(double rate, double burstiness, uint64_t seed)
      : random_(seed), gamma_(burstiness, 1 / (rate * burstiness)) {}

  double Draw() { return gamma_(random_); }

 private:
  std::mt19937_64 random_;
  std::gamma_distribution<double> gamma_;
};

// A number of tokens: `median` always, or, with sigma > 0, log-normal around it with this standard
// deviation of the logarithm. Conversations are about so: most short, a few very long.
struct LengthLaw {
  int32_t median = 1;
  double sigma = 0;
};

// A length within [1, most].
int32_t DrawLength(const LengthLaw& law, int32_t most, std::mt19937_64* random);

}  // namespace quire::cli
