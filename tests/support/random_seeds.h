#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace quire::testing {

// 1 to `count`, or the one in QUIRE_TEST_SEED, to replay what a random test has reported.
inline std::vector<uint64_t> RandomSeeds(uint64_t count) {
  if (const char* seed = std::getenv("QUIRE_TEST_SEED")) {
    return {std::strtoull(seed, nullptr, 10)};
  }
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= count; ++seed) seeds.push_back(seed);
  return seeds;
}

}  // namespace quire::testing
