#include "core/model/decode_graphs.h"

#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {

absl::Status DecodeGraphs::Run(int32_t bucket, kernels::Device* device,
                               const std::function<void()>& enqueue) {
  Bucket& b = buckets_.at(static_cast<size_t>(bucket));
  if (!b.seen) {
    b.seen = true;
    enqueue();
    return absl::OkStatus();
  }
  if (b.graph == nullptr) {
    device->BeginCapture();
    enqueue();
    b.graph = device->EndCapture();
    if (b.graph == nullptr) {
      QUIRE_RETURN_IF_ERROR(FromDevice(device->CheckError(), "recording a decode step"));
      return absl::UnavailableError("recording a decode step: the device gave no reason");
    }
  }
  b.graph->Launch();
  return absl::OkStatus();
}

GraphStats DecodeGraphs::stats() const {
  GraphStats stats;
  for (const Bucket& bucket : buckets_) {
    if (bucket.graph == nullptr) continue;
    ++stats.count;
    stats.bytes += bucket.graph->bytes();
  }
  return stats;
}

}  // namespace quire
