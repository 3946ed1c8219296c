#include "server/metrics/engine_collector.h"

#include <chrono>
#include <utility>

namespace quire::server {

EngineCollector::EngineCollector(MetricLabels labels, std::function<EngineStats()> read_stats,
                                 std::function<std::vector<TenantStats>()> read_tenants,
                                 const ServerCounters* counters, const LiveStreams* streams,
                                 const Clock* clock)
    : labels_(std::move(labels)),
      read_stats_(std::move(read_stats)),
      read_tenants_(std::move(read_tenants)),
      counters_(counters),
      streams_(streams),
      clock_(clock) {}

std::vector<prometheus::MetricFamily> EngineCollector::Collect() const {
  return BuildMetricFamilies(labels_, TakeSnapshot());
}

MetricSnapshot EngineCollector::TakeSnapshot() const {
  MetricSnapshot snapshot;
  snapshot.engine = read_stats_();
  snapshot.tenants = read_tenants_();
  snapshot.rejected_unauthenticated = counters_->rejected_unauthenticated;
  snapshot.rejected_invalid = counters_->rejected_invalid;
  snapshot.rejected_streams = counters_->rejected_streams;
  snapshot.slow_readers = counters_->slow_readers;
  snapshot.self_probes_answered = counters_->self_probes_answered;
  snapshot.self_probes_failed = counters_->self_probes_failed;
  snapshot.live = counters_->live;
  snapshot.engine_stalled_seconds = counters_->engine_stalled_seconds;
  snapshot.stalled_readers = counters_->stalled_readers;
  snapshot.refused_connections = counters_->refused_connections;
  snapshot.accept_failures = counters_->accept_failures;
  snapshot.open_streams = static_cast<int64_t>(streams_->size());
  if (snapshot.engine.last_step != TimePoint{}) {
    const auto unix_now = std::chrono::system_clock::now().time_since_epoch();
    const Duration age = clock_->Now() - snapshot.engine.last_step;
    snapshot.last_step_unix_seconds =
        std::chrono::duration<double>(unix_now).count() - ToSeconds(age);
  }
  return snapshot;
}

}  // namespace quire::server
