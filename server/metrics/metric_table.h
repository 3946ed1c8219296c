#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/metric_type.h>

#include <array>
#include <cstdint>
#include <span>

#include "server/metrics/metric_families.h"

namespace quire::server {

// One counter or gauge series. Rows of the same name are neighbours and make one family.
struct MetricSeries {
  const char* name;
  prometheus::MetricType type;
  const char* help;   // of the family; only its first row's is used
  const char* label;  // null: none beyond `model`
  const char* label_value;
  double (*value)(const MetricSnapshot&);
};

// One counter or gauge that every cache class has, as a series labelled with the class.
struct KvMetricSeries {
  const char* name;
  prometheus::MetricType type;
  const char* help;   // as above
  const char* state;  // null: no such label
  double (*value)(const KvClassSnapshot&);
};

// One counter or gauge that every tenant has, as a series labelled with the tenant. Values of
// several tenants may be added up.
struct TenantMetricSeries {
  const char* name;
  prometheus::MetricType type;
  const char* help;    // as above
  const char* reason;  // null: no such label
  double (*value)(const TenantStats&);
};

// Counts of a histogram by bucket, not cumulative, and the upper edges of all but the last one.
struct HistogramView {
  std::span<const double> edges;
  std::span<const uint64_t> counts;
  double sum = 0;
};

// As the exposition format has it, without labels.
prometheus::ClientMetric ToMetric(const HistogramView& histogram);

// One histogram. Rows of the same name are neighbours and make one family.
struct HistogramSeries {
  const char* name;
  const char* help;   // as above
  const char* label;  // null: none beyond `model`
  const char* label_value;
  HistogramView (*value)(const MetricSnapshot&);
};

template <size_t kEdges>
HistogramView View(const std::array<double, kEdges>& edges, const Histogram<kEdges>& histogram) {
  return {edges, histogram.counts, histogram.sum};
}

std::span<const HistogramSeries> HistogramTable();

// Every counter and gauge that Quire exports, but for the *_info families.
std::span<const MetricSeries> MetricTable();
std::span<const KvMetricSeries> KvMetricTable();
std::span<const TenantMetricSeries> TenantMetricTable();

}  // namespace quire::server
