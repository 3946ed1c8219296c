#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/model/mapped_file.h"
#include "core/model/safetensors.h"

namespace quire {

inline constexpr char kCheckpointFile[] = "model.safetensors";
inline constexpr char kCheckpointIndexFile[] = "model.safetensors.index.json";
inline constexpr size_t kMaxCheckpointShards = 4096;

// The tensors of a Hugging Face directory: model.safetensors, or the shards that
// model.safetensors.index.json lists. Keeps the files mapped while it lives. Immutable after Open.
class Checkpoint {
 public:
  // NotFound without either file; InvalidArgument, naming file and tensor, for anything malformed.
  static absl::StatusOr<Checkpoint> Open(const std::string& model_dir,
                                         const SafetensorsLimits& limits = {});

  const SafetensorsEntry* Find(std::string_view name) const;  // null when absent
  std::vector<std::string> Names() const;                     // sorted
  // Those of one file together, in the order of their data: the way to read them all.
  const std::vector<std::string>& NamesInFileOrder() const { return names_in_file_order_; }
  const std::vector<std::string>& FileNames() const { return file_names_; }

 private:
  using WeightMap = absl::flat_hash_map<std::string, std::string>;  // tensor -> file name

  Checkpoint() = default;
  // Maps one file and takes its tensors in. With `weight_map`, each must be listed there with
  // this file.
  absl::Status AddFile(const std::string& model_dir, const std::string& file_name,
                       const WeightMap* weight_map, const SafetensorsLimits& limits);
  absl::Status AddShards(const std::string& model_dir, const std::string& index_path,
                         const SafetensorsLimits& limits);

  std::vector<MappedFile> files_;
  absl::flat_hash_map<std::string, SafetensorsEntry> tensors_;
  std::vector<std::string> names_in_file_order_;
  std::vector<std::string> file_names_;
};

}  // namespace quire
