#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <string>
#include <vector>

#include "core/engine/engine_stats.h"
#include "server/log/log_line.h"
#include "server/metrics/grpc_metrics.h"

namespace quire::server {

// The facts about the model and the build that metrics carry as labels.
struct MetricLabels {
  std::string model;
  std::string device;
  std::string dtype;  // of the KV cache
  std::string layers;
  std::string kv_heads;  // KV groups of a layer; "varies" where layers differ
  std::string head_dim;
  std::string version;
  std::string commit;  // that it was built from
};

// Everything one scrape reports, read once so that its numbers belong together. The tenants' may be
// of the next step already.
struct MetricSnapshot {
  EngineStats engine;
  std::vector<TenantStats> tenants;  // by TenantId
  uint64_t rejected_unauthenticated = 0;
  uint64_t rejected_invalid = 0;
  uint64_t rejected_streams = 0;
  uint64_t slow_readers = 0;
  uint64_t self_probes_answered = 0;
  uint64_t self_probes_failed = 0;
  bool live = true;
  double engine_stalled_seconds = 0;
  uint64_t stalled_readers = 0;
  uint64_t refused_connections = 0;
  uint64_t accept_failures = 0;
  int64_t open_streams = 0;
  double last_step_unix_seconds = 0;  // 0: no step yet
  std::array<uint64_t, kNumLogLevels> log_messages{};
  Histogram<kStreamWriteEdges.size()> stream_writes;
};

// Tenants with series of their own: the first by id, that is in the order in which they were
// configured. With about 30 series each, more would be a burden for whoever stores them.
inline constexpr size_t kMaxTenantLabels = 100;
// What the others are added up under, and a tenant of that name with them.
inline constexpr char kOtherTenants[] = "other";

// All quire_* families of the engine and the server. Pure: names, help and meaning are in the
// tables of metric_table.h.
std::vector<prometheus::MetricFamily> BuildMetricFamilies(const MetricLabels& labels,
                                                          const MetricSnapshot& snapshot);

}  // namespace quire::server
