#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/safetensors_writer.h"

namespace quire {

// One file of a checkpoint that is to be written.
struct CheckpointShard {
  std::string file_name;
  std::vector<OutputTensor> tensors;  // in the order of their data
  int64_t bytes = 0;                  // of data, the header apart
};

// Cuts tensors into files of at most `max_bytes` of data, in their order; a larger tensor has a
// file for itself. A single file is model.safetensors, several are model-00001-of-00003.safetensors
// and so on, as transformers names them. InvalidArgument for more files than Checkpoint opens.
// Pure.
absl::StatusOr<std::vector<CheckpointShard>> CutIntoShards(std::vector<OutputTensor> tensors,
                                                           int64_t max_bytes);

// The text of kCheckpointIndexFile, which several files need.
std::string CheckpointIndexText(const std::vector<CheckpointShard>& shards);

}  // namespace quire
