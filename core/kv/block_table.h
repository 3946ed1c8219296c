#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"

namespace quire {

// The blocks of one sequence in one cache class, in order: token position p lies in slot
// p % block_tokens of block p / block_tokens. Plain data.
struct BlockTable {
  std::vector<BlockId> blocks;  // the first `passed_blocks` are kNoBlock
  int32_t passed_blocks = 0;
  int32_t promised_blocks = 0;  // most blocks the sequence will ever hold, set at admission

  int32_t held_blocks() const { return static_cast<int32_t>(blocks.size()) - passed_blocks; }
};

}  // namespace quire
