#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/weight_source.h"

namespace quire {
namespace {

std::vector<int64_t> ExpectedShape(const TensorSpec& spec) {
  if (spec.vector) return {spec.cols};
  return {spec.rows, spec.cols};
}

absl::Status CheckEntry(const TensorSpec& spec, const SafetensorsEntry* entry) {
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint lacks tensor '", spec.name,
                                                   "' of shape ", ShapeName(ExpectedShape(spec)),
                                                   ", which config.json calls for"));
  }
  if (entry->shape != ExpectedShape(spec)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor '", spec.name, "' has shape ", ShapeName(entry->shape),
        " in the checkpoint, but config.json makes it ", ShapeName(ExpectedShape(spec))));
  }
  if (!entry->dtype.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", spec.name, "' has type ",
                                                   entry->dtype_name,
                                                   "; F32, F16 and BF16 can be loaded"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointSource>> CheckpointSource::Open(
    const std::string& model_dir) {
  QUIRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(model_dir));
  return std::unique_ptr<CheckpointSource>(new CheckpointSource(std::move(checkpoint)));
}

absl::StatusOr<std::vector<kernels::HostMatrix>> CheckpointSource::Fetch(
    std::span<const TensorSpec> specs) {
  std::vector<kernels::HostMatrix> matrices;
  for (const TensorSpec& spec : specs) {
    const SafetensorsEntry* entry = checkpoint_.Find(spec.name);
    QUIRE_RETURN_IF_ERROR(CheckEntry(spec, entry));
    PrefetchMapped(entry->data);
    used_.insert(spec.name);
    matrices.push_back(
        {.data = entry->data.data(), .dtype = *entry->dtype, .rows = spec.rows, .cols = spec.cols});
  }
  return matrices;
}

absl::Status CheckpointSource::CheckComplete() const {
  for (const std::string& name : checkpoint_.Names()) {
    // A tied output layer may be stored all the same, and so may buffers such as inv_freq.
    const bool parameter = absl::EndsWith(name, ".weight") || absl::EndsWith(name, ".bias");
    if (!parameter || name == "lm_head.weight" || used_.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint holds tensor '", name,
                     "', which config.json has no use for: the two do not belong together, or "
                     "the model is of a kind that is not supported"));
  }
  return absl::OkStatus();
}

}  // namespace quire
