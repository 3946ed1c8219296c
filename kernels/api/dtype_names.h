#pragma once

#include <optional>
#include <string_view>

#include "kernels/api/types.h"

namespace quire::kernels {

inline constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3};

// The opposite of DTypeName; nullopt where no type has that name.
constexpr std::optional<DType> DTypeOf(std::string_view name) {
  for (const DType dtype : kDTypes) {
    if (name == DTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

}  // namespace quire::kernels
