#include "core/model/checkpoint_shards.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/model/checkpoint.h"

namespace quire {

absl::StatusOr<std::vector<CheckpointShard>> CutIntoShards(std::vector<OutputTensor> tensors,
                                                           int64_t max_bytes) {
  if (max_bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a shard must have room for 1 byte or more, found ", max_bytes));
  }
  std::vector<CheckpointShard> shards(1);
  for (OutputTensor& tensor : tensors) {
    const bool fits = tensor.bytes <= max_bytes - shards.back().bytes;
    if (!fits && !shards.back().tensors.empty()) shards.emplace_back();
    shards.back().bytes += tensor.bytes;
    shards.back().tensors.push_back(std::move(tensor));
  }
  if (shards.size() > kMaxCheckpointShards) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shards of at most ", max_bytes, " bytes make ", shards.size(), " files, more than the ",
        kMaxCheckpointShards, " that are read; allow larger shards"));
  }
  shards[0].file_name = kCheckpointFile;
  for (size_t i = 0; shards.size() > 1 && i < shards.size(); ++i) {
    shards[i].file_name = absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
  }
  return shards;
}

std::string CheckpointIndexText(const std::vector<CheckpointShard>& shards) {
  int64_t total = 0;
  nlohmann::json map = nlohmann::json::object();
  for (const CheckpointShard& shard : shards) {
    total += shard.bytes;
    for (const OutputTensor& tensor : shard.tensors) map[tensor.name] = shard.file_name;
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  return index.dump(2) + "\n";
}

}  // namespace quire
