#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/model_config.h"
#include "core/regroup/head_pooling.h"

// A checkpoint with fewer KV groups from one with more (MHA or GQA): the K and V heads of each new
// group become one. Attention then needs less KV, and answers get worse until the model has been
// trained further, by about 5 % of its pretraining steps in the paper
// (core/regroup/head_pooling.h).

namespace quire {

struct RegroupOptions {
  std::string model_dir;   // a Hugging Face directory with safetensors that are not quantized
  std::string output_dir;  // new or empty
  // KV groups: of every layer that has attention, or, where that is 0, one number a layer. They
  // must divide what the layers have; layers that keep their number keep their weights.
  int32_t groups = 0;
  std::vector<int32_t> groups_per_layer = {};
  PoolMethod method = PoolMethod::kMean;
  uint64_t seed = 0;  // of kRandom
  int64_t max_shard_bytes = int64_t{5} << 30;
};

struct RegroupProgress {
  int64_t tensors_done = 0, tensors = 0;
  int64_t bytes_done = 0, bytes = 0;  // of tensors written
};
// Called after every few MiB; false ends the work with Cancelled.
using RegroupObserver = std::function<bool(const RegroupProgress&)>;

struct RegroupResult {
  ModelConfig before;
  ModelConfig after;
  bool list_of_quire = false;  // config.json now has a list that other programs do not read
  int64_t tensors = 0;
  int64_t changed_tensors = 0;
  int64_t bytes = 0;                      // of tensors
  std::vector<std::string> weight_files;  // that were written
  std::vector<std::string> copied;        // other files of the model, as they were
  // Not copied: subdirectories, weights in other formats, and hashes that are no longer right.
  std::vector<std::string> left_out;
};

// Reads and writes a few MiB at a time, whatever the model's size. Tensors that do not hold K or V
// and other files are copied as they are, and config.json but for the groups. How it was made
// stands in the safetensors metadata under "quire.regroup". Nothing is left behind after an error,
// and nothing that looks like a checkpoint when the process is killed
// (core/base/staged_directory.h).
//
// InvalidArgument: the model cannot be regrouped so, and what to change. AlreadyExists: something
// is in the output directory. ResourceExhausted: the disk is too small.
absl::StatusOr<RegroupResult> Regroup(const RegroupOptions& options,
                                      const RegroupObserver& observer);

const char* PoolMethodName(PoolMethod method);  // "mean"

}  // namespace quire
