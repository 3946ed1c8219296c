#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace quire::cli {

// Called while files are read, with bytes done and bytes in all.
using FileProgress = std::function<void(int64_t done, int64_t total)>;

// Looks for files that are not what their names say: pointers of Git LFS where weights should be,
// and, where the directory has a SHA256SUMS file (as sha256sum writes it), files whose hash is
// another. Returns what was found to be right, in words. InvalidArgument names the file and says
// what to do.
absl::StatusOr<std::string> CheckFiles(const std::string& model_dir, const FileProgress& progress);

}  // namespace quire::cli
