#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"

namespace quire {

// The blocks of one sequence, in order: token position p lies in slot p % block_tokens of block
// p / block_tokens. Plain data.
struct BlockTable {
  std::vector<BlockId> blocks;
  int32_t promised_blocks = 0;  // most blocks the sequence will ever hold, set at admission
  int64_t filled_tokens = 0;    // positions written by launched steps
};

}  // namespace quire
