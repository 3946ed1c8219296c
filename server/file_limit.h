#pragma once

#include "absl/status/status.h"

namespace quire::server {

// Raises the limit on open files to the most this process may have, and refuses one so low that a
// burst of connections could exhaust it: the gRPC that Debian 12 ships never accepts again after
// that (CVE-2023-4785). ResourceExhausted says what to change.
absl::Status RaiseFileLimit();

}  // namespace quire::server
