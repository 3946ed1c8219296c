#include "server/metrics/metric_families.h"

#include <utility>

#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily InfoFamily(const char* name, const char* help,
                        std::vector<ClientMetric::Label> labels) {
  MetricFamily family{name, help, MetricType::Gauge, {}};
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.gauge.value = 1;
  return family;
}

// Adds one value to the family of `series`, which is the last one or a new one.
template <typename Series>
void AddValue(const Series& series, std::vector<ClientMetric::Label> labels, double value,
              std::vector<MetricFamily>* families) {
  if (families->empty() || families->back().name != series.name) {
    families->push_back({series.name, series.help, series.type, {}});
  }
  ClientMetric& metric = families->back().metric.emplace_back();
  metric.label = std::move(labels);
  (series.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
}

void AddPlainFamilies(const std::string& model, const MetricSnapshot& snapshot,
                      std::vector<MetricFamily>* families) {
  for (const MetricSeries& series : MetricTable()) {
    std::vector<ClientMetric::Label> labels = {{"model", model}};
    if (series.label != nullptr) labels.push_back({series.label, series.label_value});
    AddValue(series, std::move(labels), series.value(snapshot), families);
  }
}

std::string CacheClassName(const KvClassSnapshot& kv) {
  return kv.window == 0 ? "full" : "window_" + std::to_string(kv.window);
}

void AddKvFamilies(const std::string& model, const KvSnapshot& kv,
                   std::vector<MetricFamily>* families) {
  for (const KvMetricSeries& series : KvMetricTable()) {
    for (int32_t c = 0; c < kv.num_classes; ++c) {
      const KvClassSnapshot& snapshot = kv.classes[static_cast<size_t>(c)];
      std::vector<ClientMetric::Label> labels = {{"model", model},
                                                 {"cache_class", CacheClassName(snapshot)}};
      if (series.state != nullptr) labels.push_back({"state", series.state});
      AddValue(series, std::move(labels), series.value(snapshot), families);
    }
  }
}

// Those with series of their own, and the others, which are added up.
struct TenantGroups {
  std::vector<const TenantStats*> named;
  std::vector<const TenantStats*> others;
};

TenantGroups GroupTenants(const std::vector<TenantStats>& tenants) {
  TenantGroups groups;
  for (const TenantStats& tenant : tenants) {
    const bool is_named = groups.named.size() < kMaxTenantLabels && tenant.name != kOtherTenants;
    (is_named ? groups.named : groups.others).push_back(&tenant);
  }
  return groups;
}

void AddTenantFamilies(const std::string& model, const TenantGroups& groups,
                       std::vector<MetricFamily>* families) {
  for (const TenantMetricSeries& series : TenantMetricTable()) {
    const auto add = [&](const std::string& tenant, double value) {
      std::vector<ClientMetric::Label> labels = {{"model", model}, {"tenant", tenant}};
      if (series.reason != nullptr) labels.push_back({"reason", series.reason});
      AddValue(series, std::move(labels), value, families);
    };
    for (const TenantStats* tenant : groups.named) add(tenant->name, series.value(*tenant));
    double sum = 0;
    for (const TenantStats* tenant : groups.others) sum += series.value(*tenant);
    if (!groups.others.empty()) add(kOtherTenants, sum);
  }
}

void AddTenantFirstTokens(const std::string& model, const TenantGroups& groups,
                          std::vector<MetricFamily>* families) {
  MetricFamily family{"quire_tenant_time_to_first_token_seconds",
                      "From the arrival of a request of the tenant to its first token.",
                      MetricType::Histogram,
                      {}};
  const auto add = [&](const std::string& tenant, const auto& histogram) {
    ClientMetric& metric =
        family.metric.emplace_back(ToMetric(View(kTenantFirstTokenEdges, histogram)));
    metric.label = {{"model", model}, {"tenant", tenant}};
  };
  for (const TenantStats* tenant : groups.named) add(tenant->name, tenant->time_to_first_token);
  Histogram<kTenantFirstTokenEdges.size()> sum;
  for (const TenantStats* tenant : groups.others) sum += tenant->time_to_first_token;
  if (!groups.others.empty()) add(kOtherTenants, sum);
  families->push_back(std::move(family));
}

void AddKvInfo(const MetricLabels& labels, const KvSnapshot& kv,
               std::vector<MetricFamily>* families) {
  for (int32_t c = 0; c < kv.num_classes; ++c) {
    const KvClassSnapshot& snapshot = kv.classes[static_cast<size_t>(c)];
    // If it had the arena to itself: a label must not move.
    const int64_t num_blocks = int64_t{kv.num_slabs} * snapshot.blocks_per_slab;
    // block_size and num_gpu_blocks are the names that inference gateways look for.
    MetricFamily family =
        InfoFamily("quire_kv_cache_config_info", "Shape of the KV cache; the value is 1.",
                   {{"model", labels.model},
                    {"cache_class", CacheClassName(snapshot)},
                    {"device", labels.device},
                    {"block_size", std::to_string(snapshot.block_tokens)},
                    {"num_gpu_blocks", std::to_string(num_blocks)},
                    {"block_bytes", std::to_string(snapshot.block_bytes)},
                    {"dtype", labels.dtype},
                    {"layers", labels.layers},
                    {"kv_heads", labels.kv_heads},
                    {"head_dim", labels.head_dim}});
    if (c == 0) {
      families->push_back(std::move(family));
    } else {
      families->back().metric.push_back(std::move(family.metric[0]));
    }
  }
}

void AddHistograms(const std::string& model, const MetricSnapshot& snapshot,
                   std::vector<MetricFamily>* families) {
  for (const HistogramSeries& series : HistogramTable()) {
    if (families->empty() || families->back().name != series.name) {
      families->push_back({series.name, series.help, MetricType::Histogram, {}});
    }
    ClientMetric& metric = families->back().metric.emplace_back(ToMetric(series.value(snapshot)));
    metric.label.push_back({"model", model});
    if (series.label != nullptr) metric.label.push_back({series.label, series.label_value});
  }
}

}  // namespace

std::vector<MetricFamily> BuildMetricFamilies(const MetricLabels& labels,
                                              const MetricSnapshot& snapshot) {
  std::vector<MetricFamily> families;
  AddPlainFamilies(labels.model, snapshot, &families);
  AddHistograms(labels.model, snapshot, &families);
  AddKvFamilies(labels.model, snapshot.engine.kv, &families);
  const TenantGroups tenants = GroupTenants(snapshot.tenants);
  AddTenantFamilies(labels.model, tenants, &families);
  AddTenantFirstTokens(labels.model, tenants, &families);
  AddKvInfo(labels, snapshot.engine.kv, &families);
  families.push_back(InfoFamily("quire_build_info", "The running program; the value is 1.",
                                {{"model", labels.model},
                                 {"version", labels.version},
                                 {"commit", labels.commit},
                                 {"backend", labels.device}}));
  return families;
}

}  // namespace quire::server
