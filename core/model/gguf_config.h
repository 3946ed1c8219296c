#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/model/gguf_file.h"
#include "core/model/model_config.h"

namespace quire {

// The decoder that a GGUF file's metadata describes, with the file's own names of tensors. What the
// format leaves to the reader (how Gemma scales its queries, where its windows are) is as in
// llama.cpp. InvalidArgument starts with `where` and names the key or the tensor; an unsupported
// architecture is refused with the supported ones.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file, const std::string& where);

// The same from a file; the model is called like it.
absl::StatusOr<ModelConfig> LoadGgufConfig(const std::string& path);

// Tensors whose rows the converter reordered head by head, and their numbers of heads: queries and
// keys of the "llama" architecture, for rotations of neighbours.
absl::flat_hash_map<std::string, int64_t> InterleavedHeads(const GgufFile& file,
                                                           const ModelConfig& config);

}  // namespace quire
