#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace quire::server {

// Raises the limit on open files to the most this process may have. ResourceExhausted, with what to
// change, where that is less than `needed`.
absl::Status RaiseFileLimit(int64_t needed);

}  // namespace quire::server
