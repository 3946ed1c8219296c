#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/kv/block_swapper.h"

namespace quire {

// Host memory for the KV of preempted requests where nobody said how much.
inline constexpr int64_t kDefaultSwapBytes = int64_t{1} << 30;

struct Swapping {
  std::unique_ptr<BlockSwapper> swapper;  // null: preempted requests compute their tokens again
  double seconds_per_byte = 0;            // to the host and back, as copies of the arena tell
};

// Pins `bytes` of host memory for blocks of the arena, but no more than that holds, and measures
// the link, which overwrites the arena. 0: none. Not given: the default where the device can swap
// and has so much, else none. An error where memory was asked for and cannot be had or used.
absl::StatusOr<Swapping> SetUpSwap(kernels::Device* device, std::span<std::byte> arena,
                                   const KvLayouts& classes, std::optional<int64_t> bytes,
                                   const Clock& clock);

}  // namespace quire
