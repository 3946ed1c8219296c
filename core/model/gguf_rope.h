#pragma once

#include <string>

#include "absl/status/status.h"
#include "core/model/gguf_fields.h"
#include "core/model/model_config.h"

namespace quire {

// Reads the rotation of a GGUF file into config->rope, after heads and context. Divisors of the
// frequencies may come as the tensor of GgufRopeFactors(), which is how Llama 3.1 is stretched
// there.
absl::Status ReadGgufRope(const GgufFields& fields, const std::string& architecture,
                          ModelConfig* config);

inline const char* GgufRopeFactors() { return "rope_freqs.weight"; }

}  // namespace quire
