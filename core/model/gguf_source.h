#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "core/model/gguf_file.h"
#include "core/model/mapped_file.h"
#include "core/model/quant_matrix.h"
#include "core/model/weight_source.h"

namespace quire {

// The weights of a GGUF file, read where it is mapped. Plain tensors are handed out as they lie;
// blocks are decoded, and rows of queries and keys that a converter has reordered are put back, one
// Fetch at a time.
class GgufSource final : public WeightSource {
 public:
  // Decoded tensors become `decoded`, kF32 or kBF16.
  static absl::StatusOr<std::unique_ptr<WeightSource>> Open(const std::string& path,
                                                            kernels::DType decoded);

  absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) override;
  absl::Status CheckComplete() const override;

 private:
  GgufSource(std::string path, MappedFile mapped, GgufFile file, kernels::DType decoded);
  absl::StatusOr<const GgufTensor*> Find(const TensorSpec& spec) const;
  absl::StatusOr<kernels::HostMatrix> FetchOne(const TensorSpec& spec);

  const std::string path_;
  const MappedFile mapped_;
  const GgufFile file_;
  const kernels::DType dtype_;
  absl::flat_hash_map<std::string, const GgufTensor*> tensors_;
  // Heads of the tensors whose rows are reordered.
  absl::flat_hash_map<std::string, int64_t> interleaved_heads_;
  DecodedMatrices decoded_;  // of the last Fetch
  MappedPieces fetched_;     // by the last Fetch
  absl::flat_hash_set<std::string> used_;
};

}  // namespace quire
