#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "core/model/checkpoint.h"
#include "kernels/api/types.h"

namespace quire {

// A tensor that the model needs. A vector has one row.
struct TensorSpec {
  std::string name;
  bool vector = false;
  int64_t rows = 1;
  int64_t cols = 0;
};

// Where weights come from. One thread, while loading.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // The tensors in host memory, in the order asked for; valid until the next Fetch. InvalidArgument
  // names a tensor that is missing or has another shape or an unusable type.
  virtual absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) = 0;

  // Called after the last Fetch: an error when the source holds weights that were not asked for,
  // which means that it belongs to another model than the configuration describes.
  virtual absl::Status CheckComplete() const = 0;
};

// The weights of a Hugging Face directory, read where the files are mapped.
class CheckpointSource final : public WeightSource {
 public:
  static absl::StatusOr<std::unique_ptr<CheckpointSource>> Open(const std::string& model_dir);

  absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) override;
  absl::Status CheckComplete() const override;

 private:
  explicit CheckpointSource(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  Checkpoint checkpoint_;
  absl::flat_hash_set<std::string> used_;
};

// Random weights for benchmarks: norms are ones, the rest uniform with a standard deviation of
// 0.02. A tensor depends on the seed and its name alone. Holds the tensors of one Fetch at a time.
class RandomSource final : public WeightSource {
 public:
  explicit RandomSource(uint64_t seed) : seed_(seed) {}

  absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) override;
  absl::Status CheckComplete() const override { return absl::OkStatus(); }

 private:
  uint64_t seed_;
  std::vector<uint16_t> values_;  // bf16
};

}  // namespace quire
