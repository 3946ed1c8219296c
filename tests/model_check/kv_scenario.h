#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/ids.h"
#include "core/kv/kv_layout.h"

namespace quire::testing {

inline constexpr int32_t kBlockTokens = 16;
// One layer, one group: a block takes 256 bytes.
KvLayout SmallLayout();

// A request of a scenario, and what its KV must be.
struct KvRequest {
  std::string scope;
  std::vector<TokenId> tokens;  // prompt, and of the answer what gets KV
  int64_t prompt_tokens = 0;
  // KV lengths at which a step may end, ascending; the last is all of `tokens`.
  std::vector<int64_t> stops;
  // By position: a number that stands for the scope and all tokens up to there.
  std::vector<int32_t> contents;

  std::span<const int32_t> ContentsOf(size_t block) const {
    return std::span(contents).subspan(block * kBlockTokens, kBlockTokens);
  }
};

// What a model check explores: a few requests that come, run, and are aborted at any time, over a
// handful of blocks.
struct KvScenario {
  std::string name;
  int32_t slabs = 0;
  int32_t blocks_per_slab = 1;
  size_t max_in_flight = 1;  // steps that are launched and not completed
  uint32_t events = 0;       // that must be met, see KvShadow::Event
  std::vector<KvRequest> requests;

  // Adds a request. `blocks`: a letter for each block, equal letters for equal tokens.
  KvScenario& Add(std::string_view scope, std::string_view blocks, int64_t prompt_tokens,
                  std::vector<int64_t> stops);
  int32_t num_blocks() const { return slabs * blocks_per_slab; }
};

inline void PrintTo(const KvScenario& scenario, std::ostream* os) { *os << scenario.name; }

}  // namespace quire::testing
