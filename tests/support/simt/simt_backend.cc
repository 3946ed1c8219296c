#include "tests/support/simt/simt_backend.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace quire::kernels::simt {

std::string RunGrid(const cuda::KernelEntry& entry, const cuda::LaunchShape& shape,
                    const void* args, uint64_t seed) {
  Block block(entry, shape, args, seed);
  std::vector<int32_t> order(static_cast<size_t>(shape.grid_x) * static_cast<size_t>(shape.grid_y));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);
  for (const int32_t i : order) {
    std::string error = block.Run(i % shape.grid_x, i / shape.grid_x);
    if (!error.empty()) return error;
  }
  return "";
}

}  // namespace quire::kernels::simt
