#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <vector>

#include "core/base/clock.h"
#include "server/live_streams.h"
#include "server/log/logger.h"
#include "server/metrics/metric_families.h"
#include "server/metrics/server_counters.h"

namespace quire::server {

// Answers a scrape from one snapshot of plain counters: nothing is set per step and no lock of the
// engine is held beyond that copy. Collect runs on the exporter's threads.
class EngineCollector final : public prometheus::Collectable {
 public:
  // The functions are called at each scrape. The pointers must outlive the collector.
  struct Sources {
    std::function<EngineStats()> stats;
    std::function<std::vector<TenantStats>()> tenants;
    const ServerCounters* counters = nullptr;
    const LiveStreams* streams = nullptr;
    const Logger* log = nullptr;
    const GrpcMetrics* calls = nullptr;
    const Clock* clock = nullptr;
  };
  // `vllm_names`: some families under the names of vLLM as well.
  EngineCollector(MetricLabels labels, Sources sources, bool vllm_names);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  MetricSnapshot TakeSnapshot() const;

  const MetricLabels labels_;
  const Sources sources_;
  const bool vllm_names_;
};

}  // namespace quire::server
