#include "server/metrics/engine_collector.h"

#include <chrono>
#include <utility>

#include "server/metrics/vllm_families.h"

namespace quire::server {

EngineCollector::EngineCollector(MetricLabels labels, Sources sources, bool vllm_names)
    : labels_(std::move(labels)), sources_(std::move(sources)), vllm_names_(vllm_names) {}

std::vector<prometheus::MetricFamily> EngineCollector::Collect() const {
  const MetricSnapshot snapshot = TakeSnapshot();
  std::vector<prometheus::MetricFamily> families = BuildMetricFamilies(labels_, snapshot);
  if (vllm_names_) AddVllmFamilies(labels_, snapshot, &families);
  return families;
}

MetricSnapshot EngineCollector::TakeSnapshot() const {
  const ServerCounters& counters = *sources_.counters;
  MetricSnapshot snapshot;
  snapshot.engine = sources_.stats();
  snapshot.tenants = sources_.tenants();
  snapshot.rejected_unauthenticated = counters.rejected_unauthenticated;
  snapshot.rejected_invalid = counters.rejected_invalid;
  snapshot.rejected_streams = counters.rejected_streams;
  snapshot.slow_readers = counters.slow_readers;
  snapshot.self_probes_answered = counters.self_probes_answered;
  snapshot.self_probes_failed = counters.self_probes_failed;
  snapshot.live = counters.live;
  snapshot.engine_stalled_seconds = counters.engine_stalled_seconds;
  snapshot.stalled_readers = counters.stalled_readers;
  snapshot.refused_connections = counters.refused_connections;
  snapshot.accept_failures = counters.accept_failures;
  snapshot.open_streams = static_cast<int64_t>(sources_.streams->size());
  for (size_t level = 0; level < kNumLogLevels; ++level) {
    snapshot.log_messages[level] = sources_.log->Count(static_cast<LogLevel>(level));
  }
  snapshot.stream_writes = sources_.calls->stream_writes().Read();
  if (snapshot.engine.last_step != TimePoint{}) {
    const auto unix_now = std::chrono::system_clock::now().time_since_epoch();
    const Duration age = sources_.clock->Now() - snapshot.engine.last_step;
    snapshot.last_step_unix_seconds =
        std::chrono::duration<double>(unix_now).count() - ToSeconds(age);
  }
  return snapshot;
}

}  // namespace quire::server
