#pragma once

#include "absl/status/status.h"
#include "core/model/model_config.h"

namespace quire {

class JsonFields;

// What an architecture takes for granted about positions, and which of its own ways it has.
struct RopeDefaults {
  double theta = 10000.0;
  int32_t original_max_positions = 0;  // 0: max_position_embeddings
  bool partial = false;                // partial_rotary_factor may be below 1
  bool longrope_alone = false;         // "su" and "yarn" are old names of "longrope"
};

// Reads the rotation into config->rope, after sizes and heads. Newer checkpoints keep everything in
// `rope_parameters`; older ones have `rope_theta` at the top and the rest in `rope_scaling`, whose
// type may be called `type`.
absl::Status ReadRope(const JsonFields& fields, const RopeDefaults& defaults, ModelConfig* config);

// Attention grows sharper with the logarithm of the stretch: 0.1 m ln(s) + 1 (Peng et al., 2023).
double YarnScale(double factor, double m);

// Whether a frequency may be divided by it; NaN may not.
bool IsRopeFactor(double factor);

// The same for Gemma 3, after the windows: layers with a window rotate by a base of their own.
absl::Status ReadTwoRopes(const JsonFields& fields, ModelConfig* config);

}  // namespace quire
