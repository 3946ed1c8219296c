#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/clock.h"

namespace quire::server {

// Reads a number of bytes: digits and at most one of the binary suffixes K, M, G, T. "auto", where
// the caller allows it, is not handled here.
absl::StatusOr<int64_t> ParseBytes(std::string_view text);

// Reads a duration such as "30s", "1m30s" or "250ms"; "0" is none. Not negative, at most 10 years.
absl::StatusOr<Duration> ParseDuration(std::string_view text);

}  // namespace quire::server
