#include "core/model/gguf_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/gguf_config.h"
#include "core/model/gguf_matrix.h"
#include "core/model/gguf_rope.h"
#include "core/model/safetensors.h"

namespace quire {

using kernels::DType;
using kernels::HostMatrix;

absl::StatusOr<std::unique_ptr<WeightSource>> GgufSource::Open(const std::string& path,
                                                               DType decoded) {
  QUIRE_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  QUIRE_ASSIGN_OR_RETURN(GgufFile file, ParseGguf(mapped.bytes(), path));
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig config, ReadGgufConfig(file, path));
  auto interleaved = InterleavedHeads(file, config);
  std::unique_ptr<GgufSource> source(
      new GgufSource(path, std::move(mapped), std::move(file), decoded));
  source->interleaved_heads_ = std::move(interleaved);
  return std::unique_ptr<WeightSource>(std::move(source));
}

GgufSource::GgufSource(std::string path, MappedFile mapped, GgufFile file, DType decoded)
    : path_(std::move(path)), mapped_(std::move(mapped)), file_(std::move(file)), dtype_(decoded) {
  for (const GgufTensor& tensor : file_.tensors) tensors_.emplace(tensor.name, &tensor);
  used_.insert(GgufRopeFactors());  // the configuration has it
}

absl::StatusOr<std::vector<HostMatrix>> GgufSource::Fetch(std::span<const TensorSpec> specs) {
  decoded_.Clear();
  fetched_.Release();
  std::vector<HostMatrix> matrices;
  for (const TensorSpec& spec : specs) {
    QUIRE_ASSIGN_OR_RETURN(const HostMatrix matrix, FetchOne(spec));
    matrices.push_back(matrix);
  }
  return matrices;
}

absl::StatusOr<const GgufTensor*> GgufSource::Find(const TensorSpec& spec) const {
  const std::vector<int64_t> shape = spec.shape();
  const auto it = tensors_.find(spec.name);
  if (it == tensors_.end()) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": lacks tensor '", spec.name,
                                                   "' of shape ", ShapeName(shape),
                                                   ", which the metadata calls for"));
  }
  if (it->second->shape == shape) return it->second;
  return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor '", spec.name, "' has shape ",
                                                 ShapeName(it->second->shape),
                                                 ", but the metadata makes it ", ShapeName(shape)));
}

absl::StatusOr<HostMatrix> GgufSource::FetchOne(const TensorSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const GgufTensor* tensor, Find(spec));
  fetched_.Add(tensor->data);
  used_.insert(spec.name);
  const auto interleaved = interleaved_heads_.find(spec.name);
  const int64_t heads = interleaved == interleaved_heads_.end() ? 0 : interleaved->second;
  if (tensor->type->plain.has_value() && heads == 0) {
    return HostMatrix{.data = tensor->data.data(),
                      .dtype = *tensor->type->plain,
                      .rows = spec.rows,
                      .cols = spec.cols};
  }
  // Rows of a vector are its elements where they are reordered. Vectors stay in F32: they are small
  // and not multiplied in lower precision.
  const bool upright = spec.vector && heads > 0;
  if (upright && !tensor->type->plain.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": tensor '", spec.name, "' has type ", tensor->type->name,
                     ", but elements that the converter reordered must be F32, F16 or BF16"));
  }
  const GgufMatrix matrix(*tensor, upright ? spec.cols : spec.rows, upright ? 1 : spec.cols, heads);
  absl::StatusOr<HostMatrix> decoded =
      decoded_.Add(matrix, spec.name, spec.vector ? DType::kF32 : dtype_);
  if (!decoded.ok()) {
    return absl::Status(decoded.status().code(),
                        absl::StrCat(path_, ": ", std::string(decoded.status().message())));
  }
  decoded->rows = spec.rows;
  decoded->cols = spec.cols;
  return decoded;
}

absl::Status GgufSource::CheckComplete() const {
  for (const GgufTensor& tensor : file_.tensors) {
    if (used_.contains(tensor.name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": holds tensor '", tensor.name,
                     "', which the metadata has no use for: the model is of a kind that is not "
                     "supported"));
  }
  return absl::OkStatus();
}

}  // namespace quire
