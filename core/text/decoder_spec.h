#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "core/text/token_decoder.h"

namespace quire {

// A tokenizer.json's `decoder`, which must be there. Only what works token by token is supported:
// ByteLevel, or Replace, Metaspace and Strip in any order, then ByteFallback, then Fuse, then a
// Strip at the front. For .cc files alone.
absl::StatusOr<DecoderSpec> ReadDecoder(const nlohmann::json& root);

}  // namespace quire
