#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "core/engine/engine_options.h"
#include "core/kv/kv_layout.h"

namespace quire {

// Bytes for the KV arena. `wanted` > 0 is taken as it is; 0 means as much as the running requests
// can use at full context, but at most `share` of `available`. InvalidArgument when not even one
// block of each class fits, with what is needed. Pure.
absl::StatusOr<size_t> ChooseKvBytes(int64_t wanted, size_t available, double share,
                                     const KvLayouts& classes, const EngineOptions& options,
                                     int in_flight_depth);

// Entries of the block tables of all running sequences together, in any class, at most. Pure.
int32_t MaxTableEntries(const KvLayouts& classes, const EngineOptions& options, size_t kv_bytes);

}  // namespace quire
