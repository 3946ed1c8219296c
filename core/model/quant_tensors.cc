#include "core/model/quant_tensors.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "kernels/api/float_convert.h"

namespace quire {

absl::Status QuantError(const SafetensorsEntry& entry, std::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", entry.name, "' ", std::string(problem)));
}

absl::Status CheckQuantTensor(const SafetensorsEntry& entry,
                              std::initializer_list<const char*> dtypes,
                              const std::vector<int64_t>& shape) {
  const auto is_type = [&](const char* dtype) { return entry.dtype_name == dtype; };
  if (std::none_of(dtypes.begin(), dtypes.end(), is_type)) {
    return QuantError(entry, absl::StrCat("has type ", entry.dtype_name, ", but must have ",
                                          absl::StrJoin(dtypes, " or ")));
  }
  if (entry.shape == shape) return absl::OkStatus();
  return QuantError(entry, absl::StrCat("has shape ", ShapeName(entry.shape),
                                        ", but config.json makes it ", ShapeName(shape)));
}

absl::StatusOr<std::vector<float>> ReadScales(const SafetensorsEntry& entry) {
  if (!entry.dtype.has_value()) {
    return QuantError(entry, absl::StrCat("has type ", entry.dtype_name,
                                          ", but scales must be F32, F16 or BF16"));
  }
  std::vector<float> scales(entry.data.size() / kernels::DTypeBytes(*entry.dtype));
  kernels::ConvertToFloat(entry.data.data(), *entry.dtype, scales.size(), scales.data());
  for (size_t i = 0; i < scales.size(); ++i) {
    if (std::isfinite(scales[i])) continue;
    return QuantError(entry, absl::StrCat("has a scale that is not finite, number ", i));
  }
  return scales;
}

}  // namespace quire
