#pragma once

#include <cstdint>
#include <vector>

namespace quire {

// How the rotation is stretched beyond the length that a model was trained on.
enum class RopeKind : uint8_t {
  kDefault,   // not at all (Su et al., 2021)
  kLinear,    // every frequency divided by `factor` (Chen et al., 2023)
  kLlama3,    // slow ones divided, fast ones kept, those between blended
  kYarn,      // a ramp between divided and kept (Peng et al., 2023)
  kLongRope,  // a divisor for each frequency (Ding et al., 2024)
};

// A rotary embedding; plain data. A field counts for the kinds beside it.
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  int32_t rotary_dim = 0;              // elements of a head that rotate, even; 0: all
  double factor = 1.0;                 // linear, llama3, yarn
  double attention_factor = 1.0;       // yarn, longrope: multiplies cosines and sines
  int32_t original_max_positions = 0;  // llama3, yarn, longrope
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;
  double beta_fast = 32.0;  // yarn
  double beta_slow = 1.0;
  bool truncate = true;                    // yarn: the ramp begins and ends at whole frequencies
  std::vector<double> short_factors = {};  // longrope: [rotary_dim / 2]
  std::vector<double> long_factors = {};
};

}  // namespace quire
