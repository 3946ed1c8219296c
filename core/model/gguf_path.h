#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace quire {

// The path of the GGUF file that `model` stands for: itself, where its name ends in .gguf, or the
// only such file in a directory without safetensors. Empty where `model` is something else.
// InvalidArgument for a directory with several, or where the file is one of a split model.
absl::StatusOr<std::string> FindGgufFile(const std::string& model);

}  // namespace quire
