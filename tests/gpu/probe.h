#pragma once

#include <string>

namespace quire::gpu {

// Exit status that says: nothing was run, since what it takes is not there.
inline constexpr int kSkipped = 77;

// Why no GPU can be used, in one line; "" where one can.
std::string WhyNoGpu();

}  // namespace quire::gpu
