#pragma once

#include <cstdint>
#include <vector>

#include "tests/kernels/kernel_fixture.h"

namespace quire::kernels {

// One sequence's part of a step: its last q_len of kv_len tokens, and its blocks in the arena.
struct SequencePart {
  int32_t q_len = 0;
  int32_t kv_len = 0;
  std::vector<uint32_t> blocks;  // offsets in units of kKvOffsetUnit
};

// A step's input in device memory, with room to spare whose contents are poison.
class BatchFixture : public KernelTest {
 protected:
  struct DeviceBatch {
    BatchView view;
    std::vector<DeviceBuffer> buffers;
    std::vector<int32_t> q_start;
    std::vector<int32_t> kv_len;

    int32_t tokens() const { return q_start.back(); }
    BatchHostView host() const { return {q_start, kv_len}; }
  };
  DeviceBatch MakeBatch(const std::vector<SequencePart>& parts,
                        const std::vector<int32_t>& token_ids = {},
                        const std::vector<int32_t>& logit_rows = {});
  // A batch of `tokens` tokens of one sequence without KV.
  DeviceBatch MakePlainBatch(int32_t tokens, const std::vector<int32_t>& logit_rows = {});
};

}  // namespace quire::kernels
