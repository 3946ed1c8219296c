#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace quire {

// The path of the GGUF file that `model` stands for: itself, where its name ends in .gguf, or the
// only such file in a directory without safetensors. Empty where `model` is something else.
// InvalidArgument for a directory with several, such as the parts of a split model, of which none
// can be read alone.
absl::StatusOr<std::string> FindGgufFile(const std::string& model);

}  // namespace quire
