#include "core/model/decode_graphs.h"

#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {

absl::Status DecodeGraphs::Run(int32_t bucket, kernels::Device* device,
                               const std::function<void()>& enqueue) {
  Bucket& b = buckets_.at(static_cast<size_t>(bucket));
  if (b.seen && b.graph == nullptr && !b.failed) {
    device->BeginCapture();
    enqueue();
    b.graph = device->EndCapture();
    b.failed = b.graph == nullptr;
    QUIRE_RETURN_IF_ERROR(FromDevice(device->CheckError(), "recording a decode step"));
  }
  b.seen = true;
  if (b.graph != nullptr) {
    b.graph->Launch();
  } else {
    enqueue();
  }
  return absl::OkStatus();
}

GraphStats DecodeGraphs::stats() const {
  GraphStats stats;
  for (const Bucket& bucket : buckets_) {
    if (bucket.failed) ++stats.failed;
    if (bucket.graph == nullptr) continue;
    ++stats.count;
    stats.bytes += bucket.graph->bytes();
  }
  return stats;
}

}  // namespace quire
