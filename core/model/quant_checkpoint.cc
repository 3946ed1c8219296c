#include "core/model/quant_checkpoint.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "core/model/quant_fp8.h"
#include "core/model/quant_grouped.h"
#include "core/model/quant_tensors.h"

namespace quire {
namespace {

constexpr char kWeight[] = ".weight";

// Looks tensors of one layer up and notes their names.
class LayerTensors {
 public:
  LayerTensors(const Checkpoint& checkpoint, const TensorSpec& spec)
      : checkpoint_(checkpoint), layer_(absl::StripSuffix(spec.name, kWeight)) {}

  const SafetensorsEntry* Find(std::string_view suffix) {
    const std::string name = absl::StrCat(layer_, ".", std::string(suffix));
    const SafetensorsEntry* entry = checkpoint_.Find(name);
    if (entry != nullptr) {
      names_.push_back(name);
      PrefetchMapped(entry->data);
    }
    return entry;
  }
  absl::StatusOr<const SafetensorsEntry*> Get(std::string_view suffix) {
    const SafetensorsEntry* entry = Find(suffix);
    if (entry != nullptr) return entry;
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint lacks tensor '", layer_, ".",
                                                   std::string(suffix),
                                                   "', which belongs to a quantized layer"));
  }
  QuantizedMatrix Take(std::unique_ptr<EncodedMatrix> matrix) {
    return {.matrix = std::move(matrix), .tensors = std::move(names_)};
  }

 private:
  const Checkpoint& checkpoint_;
  const std::string layer_;
  std::vector<std::string> names_;
};

absl::StatusOr<QuantizedMatrix> OpenGroupedLayer(const QuantConfig& config, LayerTensors layer,
                                                 const TensorSpec& spec) {
  GroupedTensors tensors;
  tensors.codes = layer.Find("qweight");
  if (tensors.codes == nullptr) return QuantizedMatrix{};
  QUIRE_ASSIGN_OR_RETURN(tensors.zeros, layer.Get("qzeros"));
  QUIRE_ASSIGN_OR_RETURN(tensors.scales, layer.Get("scales"));
  if (config.method == QuantMethod::kGptq) tensors.group_index = layer.Find("g_idx");
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<EncodedMatrix> matrix,
                         OpenGrouped(config, tensors, spec.rows, spec.cols));
  return layer.Take(std::move(matrix));
}

absl::StatusOr<QuantizedMatrix> OpenFp8Layer(const QuantConfig& config, LayerTensors layer,
                                             const TensorSpec& spec) {
  const SafetensorsEntry* codes = layer.Find("weight");
  if (codes == nullptr || codes->dtype.has_value()) return QuantizedMatrix{};
  const SafetensorsEntry* scales = layer.Find("weight_scale_inv");  // multiplies all the same
  if (scales == nullptr) {
    QUIRE_ASSIGN_OR_RETURN(scales, layer.Get("weight_scale"));
  }
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<EncodedMatrix> matrix,
                         OpenFp8(config, *codes, *scales, spec.rows, spec.cols));
  return layer.Take(std::move(matrix));
}

}  // namespace

absl::StatusOr<QuantizedMatrix> OpenQuantized(const QuantConfig& config,
                                              const Checkpoint& checkpoint,
                                              const TensorSpec& spec) {
  if (spec.vector || !absl::EndsWith(spec.name, kWeight)) return QuantizedMatrix{};
  LayerTensors layer(checkpoint, spec);
  if (config.method == QuantMethod::kFp8) return OpenFp8Layer(config, std::move(layer), spec);
  return OpenGroupedLayer(config, std::move(layer), spec);
}

bool IsInertWhenQuantized(const QuantConfig& config, const SafetensorsEntry& entry) {
  if (config.method == QuantMethod::kFp8) {
    const auto has = [&](const char* suffix) { return absl::EndsWith(entry.name, suffix); };
    return has(".activation_scale") || has(".input_scale") || has(".output_scale") ||
           has(".k_scale") || has(".v_scale");
  }
  const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
  return absl::EndsWith(entry.name, ".bias") &&
         std::all_of(entry.data.begin(), entry.data.end(), is_zero);
}

}  // namespace quire
