#pragma once

#include <prometheus/collectable.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine/engine_stats.h"

namespace quire::server {

inline constexpr size_t kNumGrpcCodes = 17;
// Upper bucket edges in seconds.
inline constexpr std::array<double, 10> kHandlingEdges = {.005, .01, .05, .1, .5, 1, 5, 10, 30, 60};
inline constexpr std::array<double, 9> kStreamWriteEdges = {.001, .01, .05, .1, .5, 1, 5, 10, 30};

// A histogram that many threads observe. A reader may see one observation in part.
template <size_t kEdges>
struct SharedHistogram {
  std::array<std::atomic<uint64_t>, kEdges + 1> counts{};
  std::atomic<double> sum{0};

  void Observe(const std::array<double, kEdges>& edges, double value) {
    size_t i = 0;
    while (i < kEdges && value > edges[i]) ++i;
    counts[i].fetch_add(1, std::memory_order_relaxed);
    sum.fetch_add(value, std::memory_order_relaxed);
  }
  Histogram<kEdges> Read() const {
    Histogram<kEdges> result;
    for (size_t i = 0; i < counts.size(); ++i) result.counts[i] = counts[i];
    result.sum = sum;
    return result;
  }
};

// What is counted of the calls of one method. Any thread.
struct GrpcMethodCounters {
  std::string type;     // "unary", "client_stream", "server_stream" or "bidi_stream"
  std::string service;  // full name
  std::string method;
  std::atomic<uint64_t> started{0};
  std::atomic<uint64_t> received{0};  // messages
  std::atomic<uint64_t> sent{0};
  std::array<std::atomic<uint64_t>, kNumGrpcCodes> handled{};  // by the code of their status
  SharedHistogram<kHandlingEdges.size()> handling;  // of those, from their start to their status
};

// The grpc_server_* families under the names that dashboards know from go-grpc-prometheus. Methods
// are known beforehand, so that a rate sees their first call, and so are OK and the codes of
// failures; others have series once they have occurred.
class GrpcMetrics final : public prometheus::Collectable {
 public:
  // Full names of services whose descriptors the process has; others have no methods here.
  explicit GrpcMetrics(const std::vector<std::string>& services);

  // By its path, such as "/quire.v1.InferenceService/Generate". One that is not known is counted
  // with all of its kind, under "unknown". Never null.
  GrpcMethodCounters* Find(std::string_view path) const;
  // How long written messages are on their way.
  SharedHistogram<kStreamWriteEdges.size()>& stream_writes() { return stream_writes_; }
  const SharedHistogram<kStreamWriteEdges.size()>& stream_writes() const { return stream_writes_; }

  // Any thread.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  // By service and method; the last is the unknown one.
  std::vector<std::unique_ptr<GrpcMethodCounters>> methods_;
  SharedHistogram<kStreamWriteEdges.size()> stream_writes_;
};

}  // namespace quire::server
