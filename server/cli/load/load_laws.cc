#include "server/cli/load/load_laws.h"

#include <algorithm>
#include <cmath>

namespace quire::cli {

uint64_t DeriveSeed(uint64_t seed, std::string_view purpose, uint64_t index) {
  // FNV-1a over all three, then the finalizer of SplitMix64, so that neighbours share no bits.
  uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](uint64_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (uint64_t word : {seed, index}) {
    for (int shift = 0; shift < 64; shift += 8) mix((word >> shift) & 0xff);
  }
  for (char c : purpose) mix(static_cast<unsigned char>(c));
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

int32_t DrawLength(const LengthLaw& law, int32_t most, std::mt19937_64* random) {
  double length = law.median;
  if (law.sigma > 0) length *= std::exp(std::normal_distribution<double>(0, law.sigma)(*random));
  // Compared as a number with a fraction: a far draw may be beyond any integer.
  return static_cast<int32_t>(std::clamp(std::round(length), 1.0, static_cast<double>(most)));
}

}  // namespace quire::cli
