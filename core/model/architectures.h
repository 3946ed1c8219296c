#pragma once

#include <span>

#include "absl/status/status.h"
#include "core/model/model_config.h"

namespace quire {

class JsonFields;

// A way of writing config.json and of naming tensors. All of them describe the one decoder.
struct Architecture {
  const char* name;  // as in config.json
  // Fills in what the architecture has besides its data type and end tokens.
  absl::Status (*read)(const JsonFields& fields, ModelConfig* config);
};

std::span<const Architecture> Architectures();  // sorted by name

// Those whose layers differ in their heads and sizes, in layered_architectures.cc.
absl::Status ReadDeciLm(const JsonFields& fields, ModelConfig* config);
absl::Status ReadOpenElm(const JsonFields& fields, ModelConfig* config);

}  // namespace quire
