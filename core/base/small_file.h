#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace quire {

// Reads a whole file of at most `max_bytes`. NotFound when it does not exist; InvalidArgument when
// it is larger, no regular file or cannot be read.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t max_bytes);

}  // namespace quire
