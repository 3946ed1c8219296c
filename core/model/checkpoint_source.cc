#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/gguf_path.h"
#include "core/model/gguf_source.h"
#include "core/model/quant_checkpoint.h"
#include "core/model/weight_source.h"

namespace quire {
namespace {

absl::Status CheckEntry(const TensorSpec& spec, const SafetensorsEntry* entry) {
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint lacks tensor '", spec.name,
                                                   "' of shape ", ShapeName(spec.shape()),
                                                   ", which config.json calls for"));
  }
  if (entry->shape != spec.shape()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", spec.name, "' has shape ", ShapeName(entry->shape),
                     " in the checkpoint, but config.json makes it ", ShapeName(spec.shape())));
  }
  if (!entry->dtype.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", spec.name, "' has type ",
                                                   entry->dtype_name,
                                                   "; F32, F16 and BF16 can be loaded"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> CheckpointSource::Open(const std::string& model,
                                                                     kernels::DType dequantized) {
  QUIRE_ASSIGN_OR_RETURN(const std::string gguf, FindGgufFile(model));
  if (!gguf.empty()) return GgufSource::Open(gguf, dequantized);
  QUIRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(model));
  QUIRE_ASSIGN_OR_RETURN(const std::optional<QuantConfig> quantization, LoadQuantConfig(model));
  return std::unique_ptr<WeightSource>(
      new CheckpointSource(std::move(checkpoint), quantization, dequantized));
}

absl::StatusOr<std::vector<kernels::HostMatrix>> CheckpointSource::Fetch(
    std::span<const TensorSpec> specs) {
  decoded_.Clear();
  fetched_.Release();
  std::vector<kernels::HostMatrix> matrices;
  for (const TensorSpec& spec : specs) {
    QUIRE_ASSIGN_OR_RETURN(const kernels::HostMatrix matrix, FetchOne(spec));
    matrices.push_back(matrix);
  }
  return matrices;
}

absl::StatusOr<kernels::HostMatrix> CheckpointSource::FetchOne(const TensorSpec& spec) {
  if (quantization_.has_value()) {
    QUIRE_ASSIGN_OR_RETURN(const QuantizedMatrix quantized,
                           OpenQuantized(*quantization_, checkpoint_, spec));
    if (quantized.matrix != nullptr) {
      for (const std::string& name : quantized.tensors) {
        used_.insert(name);
        fetched_.Add(checkpoint_.Find(name)->data);
      }
      return decoded_.Add(*quantized.matrix, spec.name, dequantized_);
    }
  }
  const SafetensorsEntry* entry = checkpoint_.Find(spec.name);
  QUIRE_RETURN_IF_ERROR(CheckEntry(spec, entry));
  fetched_.Add(entry->data);
  used_.insert(spec.name);
  return kernels::HostMatrix{
      .data = entry->data.data(), .dtype = *entry->dtype, .rows = spec.rows, .cols = spec.cols};
}

bool CheckpointSource::IsInert(const std::string& name) const {
  // A tied output layer may be stored all the same, and so may what follows from config.json.
  if (name == "lm_head.weight" || absl::EndsWith(name, "rotary_emb.inv_freq")) return true;
  return quantization_.has_value() && IsInertWhenQuantized(*quantization_, *checkpoint_.Find(name));
}

absl::Status CheckpointSource::CheckComplete() const {
  for (const std::string& name : checkpoint_.Names()) {
    if (used_.contains(name) || IsInert(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint holds tensor '", name,
                     "', which config.json has no use for: the two do not belong together, or "
                     "the model is of a kind that is not supported"));
  }
  return absl::OkStatus();
}

}  // namespace quire
