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
  int32_t failed = 0;  // buckets that the device could not record
  size_t bytes = 0;    // of the device's memory, as far as it can tell
};

// Decode steps as graphs of the device, one for each bucket: in the first step of a bucket its work
// is enqueued, so that libraries choose their algorithms; in the second it is recorded; from then
// on the graph is launched. Where recording fails, as for a lack of memory, the bucket's steps are
// enqueued as before. All steps of a bucket must work in the same memory.
class DecodeGraphs {
 public:
  // Enqueues the work that `enqueue` enqueues. Unavailable: the device failed while it recorded.
  // `bucket`: as StepBucket::decode, >= 0.
  absl::Status Run(int32_t bucket, kernels::Device* device, const std::function<void()>& enqueue);

  GraphStats stats() const;

 private:
  struct Bucket {
    bool seen = false;
    bool failed = false;  // to record
    std::unique_ptr<kernels::DeviceGraph> graph;
  };
  std::array<Bucket, kDecodeBuckets> buckets_;
};

}  // namespace quire
