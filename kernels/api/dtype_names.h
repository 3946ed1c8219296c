#pragma once

#include <optional>
#include <string_view>

#include "kernels/api/types.h"

namespace quire::kernels {

inline constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3,
                                    DType::kInt8};

// The opposite of DTypeName; nullopt where no type has that name.
constexpr std::optional<DType> DTypeOf(std::string_view name) {
  for (const DType dtype : kDTypes) {
    if (name == DTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

inline constexpr WeightFormat kWeightFormats[] = {WeightFormat::kDense, WeightFormat::kInt8,
                                                  WeightFormat::kInt4};

// The opposite of WeightFormatName; nullopt where no format has that name.
constexpr std::optional<WeightFormat> WeightFormatOf(std::string_view name) {
  for (const WeightFormat format : kWeightFormats) {
    if (name == WeightFormatName(format)) return format;
  }
  return std::nullopt;
}

}  // namespace quire::kernels
