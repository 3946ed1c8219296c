#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "core/model/step_bucket.h"
#include "kernels/api/device.h"

namespace quire {

struct GraphStats {
  int32_t count = 0;
  size_t bytes = 0;  // of the device's memory, as far as it can tell
};

// Decode steps as graphs of the device, one for each bucket: in the first step of a bucket its work
// is enqueued, so that libraries choose their algorithms; in the second it is recorded; from then
// on the graph is launched. All steps of a bucket must work in the same memory.
class DecodeGraphs {
 public:
  // Enqueues the work that `enqueue` enqueues. Unavailable: it could not be recorded, and has not
  // run. `bucket`: as StepBucket::decode, >= 0.
  absl::Status Run(int32_t bucket, kernels::Device* device, const std::function<void()>& enqueue);

  GraphStats stats() const;

 private:
  struct Bucket {
    bool seen = false;
    std::unique_ptr<kernels::DeviceGraph> graph;
  };
  std::array<Bucket, kDecodeBuckets> buckets_;
};

}  // namespace quire
