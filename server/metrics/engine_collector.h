#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <vector>

#include "core/base/clock.h"
#include "server/live_streams.h"
#include "server/metrics/metric_families.h"
#include "server/metrics/server_counters.h"

namespace quire::server {

// Answers a scrape from one snapshot of plain counters: nothing is set per step and no lock of the
// engine is held beyond that copy. Collect runs on the exporter's threads.
class EngineCollector final : public prometheus::Collectable {
 public:
  // Both functions are called at each scrape. The pointers must outlive the collector.
  EngineCollector(MetricLabels labels, std::function<EngineStats()> read_stats,
                  std::function<std::vector<TenantStats>()> read_tenants,
                  const ServerCounters* counters, const LiveStreams* streams, const Clock* clock);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  MetricSnapshot TakeSnapshot() const;

  const MetricLabels labels_;
  const std::function<EngineStats()> read_stats_;
  const std::function<std::vector<TenantStats>()> read_tenants_;
  const ServerCounters* const counters_;
  const LiveStreams* const streams_;
  const Clock* const clock_;
};

}  // namespace quire::server
