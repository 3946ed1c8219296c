#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "core/model/checkpoint.h"
#include "core/model/mapped_file.h"
#include "core/model/quant_config.h"
#include "core/model/quant_matrix.h"
#include "kernels/api/types.h"

namespace quire {

// A tensor that the model needs. A vector has one row.
struct TensorSpec {
  std::string name;
  bool vector = false;
  int64_t rows = 1;
  int64_t cols = 0;

  // As a file has it.
  std::vector<int64_t> shape() const {
    return vector ? std::vector<int64_t>{cols} : std::vector<int64_t>{rows, cols};
  }
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

// The weights of a Hugging Face directory, read where the files are mapped. What is quantized there
// is dequantized, one Fetch at a time.
class CheckpointSource final : public WeightSource {
 public:
  // `model` may also name a GGUF file, or a directory with one and no safetensors: GgufSource.
  // Quantized weights become `dequantized`, kF32 or kBF16; the others stay as they are.
  static absl::StatusOr<std::unique_ptr<WeightSource>> Open(
      const std::string& model, kernels::DType dequantized = kernels::DType::kF32);

  absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) override;
  absl::Status CheckComplete() const override;

 private:
  CheckpointSource(Checkpoint checkpoint, std::optional<QuantConfig> quantization,
                   kernels::DType dequantized)
      : checkpoint_(std::move(checkpoint)),
        quantization_(quantization),
        dequantized_(dequantized) {}
  absl::StatusOr<kernels::HostMatrix> FetchOne(const TensorSpec& spec);
  bool IsInert(const std::string& name) const;

  Checkpoint checkpoint_;
  std::optional<QuantConfig> quantization_;
  kernels::DType dequantized_;
  DecodedMatrices decoded_;  // of the last Fetch
  MappedPieces fetched_;     // by the last Fetch
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
