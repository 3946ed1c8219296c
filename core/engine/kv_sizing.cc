#include "core/engine/kv_sizing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/capacity/kv_pool.h"

namespace quire {

absl::StatusOr<size_t> ChooseKvBytes(int64_t wanted, size_t available, double share,
                                     const KvLayouts& classes, const EngineOptions& options,
                                     int in_flight_depth) {
  const int64_t in_flight = options.InFlightTokens(in_flight_depth);
  const size_t least = LeastKvBytes(classes);
  size_t a_sequence = 0;
  for (const KvLayout& layout : classes) {
    a_sequence += layout.BlockBytes() *
                  static_cast<size_t>(layout.MostBlocks(options.max_context_tokens, in_flight));
  }
  auto bytes = static_cast<size_t>(wanted);
  if (wanted <= 0) {
    bytes = std::min(a_sequence * static_cast<size_t>(options.max_running_requests),
                     static_cast<size_t>(static_cast<double>(available) * share));
  }
  if (bytes < least) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KV cache gets ", bytes, " bytes, but blocks of ", classes[0].block_tokens,
                     " tokens take ", least, "; give it more with --kv-memory"));
  }
  if (wanted > 0 && bytes > available) {
    return absl::InvalidArgumentError(absl::StrCat("the KV cache is to get ", bytes,
                                                   " bytes, but only ", available,
                                                   " are available; lower --kv-memory"));
  }
  return static_cast<size_t>(PlanKvPool(classes, static_cast<int64_t>(bytes)).bytes);
}

int32_t MaxTableEntries(const KvLayouts& classes, const EngineOptions& options, size_t kv_bytes) {
  int64_t entries =
      int64_t{options.max_running_requests} * classes[0].BlocksFor(options.max_context_tokens);
  // A table in a class that keeps every token names a block of its own in each entry, and the other
  // classes' tables are no longer. Behind a window entries outlive their blocks.
  if (classes[0].window == 0) {
    entries = std::min(entries, static_cast<int64_t>(kv_bytes / classes[0].BlockBytes()));
  }
  return static_cast<int32_t>(std::min<int64_t>(entries, INT32_MAX));
}

}  // namespace quire
