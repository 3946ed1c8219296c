#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/kv/block_swapper.h"

namespace quire {

// Host memory for the KV of preempted requests where nobody said how much.
inline constexpr int64_t kDefaultSwapBytes = int64_t{1} << 30;

// Where KV blocks of this device go when their request is preempted. Null where the device cannot
// swap, or `bytes` is 0: then preempted requests compute their tokens again. `bytes`: of host
// memory, pinned now; without it the default, less where that is not to be had. More than the
// arena holds is never taken. An error for memory that was asked for and is not there.
absl::StatusOr<std::unique_ptr<BlockSwapper>> MakeSwapper(kernels::Device* device, std::byte* arena,
                                                          size_t arena_bytes,
                                                          const KvLayouts& classes,
                                                          std::optional<int64_t> bytes);

// What a byte takes to the device and back, in seconds, as copies of the arena's first megabytes
// tell. Overwrites those.
absl::StatusOr<double> MeasureSwapCost(kernels::Device* device, std::byte* arena,
                                       size_t arena_bytes, const Clock& clock);

}  // namespace quire
