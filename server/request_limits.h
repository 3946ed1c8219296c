#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/clock.h"
#include "core/request/sampling_params.h"

namespace quire::server {

// What one request may ask for, beyond what the model and its context allow. Each is a flag.
struct RequestLimits {
  SamplingLimits sampling;
  int32_t default_max_tokens = 512;       // less where the context has less room
  int32_t max_tokens = 0;                 // 0: only the context bounds it
  size_t prompt_bytes = size_t{1} << 20;  // of a prompt as text
  size_t request_id_bytes = 128;
  size_t cache_salt_bytes = 128;
  int32_t bad_word_bytes = 256;  // of a bad word as text
  int32_t max_answers = 16;      // to one prompt
  Duration default_deadline{};   // for calls without one; 0: none
  Duration max_deadline{};       // a longer one is cut to this; 0: none
};

}  // namespace quire::server
