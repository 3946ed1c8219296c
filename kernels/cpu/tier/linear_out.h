#pragma once

#include "kernels/cpu/tier/element.h"

namespace quire::kernels {
namespace {

// Lines of weights that a tile has on their way to the cache while it works on others.
struct WeightFetch {
  const uint32_t* from;
  int64_t lines;
};

// Sums of a row from column n on, with what a LinearTask or QuantLinearTask says comes to them.
template <class V, class Task>
void StoreLinear(const Task& task, int32_t row, int64_t n, typename V::F32 x) {
  const int valid = static_cast<int>(Smaller<int64_t>(task.columns - n, V::kLanes));
  if (valid <= 0) return;
  float* out = task.out + row * task.columns + n;
  if (task.bias != nullptr) x = V::Add(x, V::LoadN(task.bias + n, valid));
  if (task.accumulate) x = V::Add(x, V::LoadN(out, valid));
  V::StoreN(out, x, valid);
}

}  // namespace
}  // namespace quire::kernels
