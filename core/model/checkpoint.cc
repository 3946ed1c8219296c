#include "core/model/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"
#include "core/model/json_fields.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr size_t kMaxIndexBytes = size_t{64} << 20;

// A shard is a file beside the index: a name with a directory in it could lead anywhere.
bool IsPlainShardName(const std::string& name) {
  return name.find('/') == std::string::npos && name.find('\0') == std::string::npos &&
         name.front() != '.' && absl::EndsWith(name, ".safetensors");
}

absl::StatusOr<absl::flat_hash_map<std::string, std::string>> ReadWeightMap(
    const std::string& path) {
  QUIRE_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxIndexBytes));
  QUIRE_ASSIGN_OR_RETURN(const json index, ParseJson(text, path));
  const JsonFields fields(index, path);
  const json* map = fields.Find("weight_map");
  if (map == nullptr || !map->is_object() || map->empty()) {
    return fields.Error("weight_map", "an object from tensor names to file names");
  }
  absl::flat_hash_map<std::string, std::string> result;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || file.get<std::string>().empty() ||
        !IsPlainShardName(file.get<std::string>())) {
      return JsonFields(*map, absl::StrCat(path, ": weight_map"))
          .Error(tensor, "the plain name of a .safetensors file in the same directory");
    }
    result.emplace(tensor, file.get<std::string>());
  }
  return result;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& model_dir,
                                            const SafetensorsLimits& limits) {
  Checkpoint checkpoint;
  absl::Status single = checkpoint.AddFile(model_dir, kCheckpointFile, nullptr, limits);
  if (single.ok()) return checkpoint;
  if (!absl::IsNotFound(single)) return single;
  const std::string index_path = absl::StrCat(model_dir, "/", kCheckpointIndexFile);
  absl::Status sharded = checkpoint.AddShards(model_dir, index_path, limits);
  if (sharded.ok()) return checkpoint;
  if (!absl::IsNotFound(sharded)) return sharded;
  return absl::NotFoundError(absl::StrCat(model_dir, ": has neither ", kCheckpointFile, " nor ",
                                          kCheckpointIndexFile,
                                          "; weights in another format must be converted first"));
}

absl::Status Checkpoint::AddFile(const std::string& model_dir, const std::string& file_name,
                                 const WeightMap* weight_map, const SafetensorsLimits& limits) {
  const std::string path = absl::StrCat(model_dir, "/", file_name);
  QUIRE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  QUIRE_ASSIGN_OR_RETURN(std::vector<SafetensorsEntry> entries,
                         ParseSafetensors(file.bytes(), path, limits));
  for (SafetensorsEntry& entry : entries) {
    if (weight_map != nullptr) {
      const auto it = weight_map->find(entry.name);
      if (it == weight_map->end() || it->second != file_name) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": holds tensor '", entry.name, "', which the index puts ",
                         it == weight_map->end() ? "nowhere" : absl::StrCat("into ", it->second)));
      }
    }
    std::string name = entry.name;
    names_in_file_order_.push_back(name);
    tensors_.emplace(std::move(name), std::move(entry));
  }
  files_.push_back(std::move(file));
  file_names_.push_back(file_name);
  return absl::OkStatus();
}

absl::Status Checkpoint::AddShards(const std::string& model_dir, const std::string& index_path,
                                   const SafetensorsLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const WeightMap weight_map, ReadWeightMap(index_path));
  std::set<std::string> shards;
  for (const auto& [tensor, file] : weight_map) shards.insert(file);
  if (shards.size() > kMaxCheckpointShards) {
    return absl::InvalidArgumentError(absl::StrCat(index_path, ": ", shards.size(),
                                                   " files, more than the ", kMaxCheckpointShards,
                                                   " allowed"));
  }
  for (const std::string& shard : shards) {
    absl::Status status = AddFile(model_dir, shard, &weight_map, limits);
    if (absl::IsNotFound(status)) {
      return absl::InvalidArgumentError(
          absl::StrCat(index_path, ": lists a file that is missing: ", shard));
    }
    QUIRE_RETURN_IF_ERROR(status);
  }
  for (const auto& [tensor, file] : weight_map) {
    if (Find(tensor) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(model_dir, "/", file, ": lacks tensor '",
                                                     tensor, "', which the index says is there"));
    }
  }
  return absl::OkStatus();
}

const SafetensorsEntry* Checkpoint::Find(std::string_view name) const {
  const auto it = tensors_.find(absl::string_view(name.data(), name.size()));
  return it == tensors_.end() ? nullptr : &it->second;
}

std::vector<std::string> Checkpoint::Names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace quire
