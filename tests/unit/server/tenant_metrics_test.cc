#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/metrics/metric_families.h"

namespace quire::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

std::string LabelOf(const ClientMetric& metric, const std::string& name) {
  for (const auto& label : metric.label) {
    if (label.name == name) return label.value;
  }
  return "";
}

std::vector<MetricFamily> TenantFamilies(std::vector<TenantStats> tenants) {
  MetricSnapshot snapshot;
  snapshot.tenants = std::move(tenants);
  std::vector<MetricFamily> families = BuildMetricFamilies({}, snapshot);
  std::erase_if(families, [](const MetricFamily& family) {
    return family.name.rfind("quire_tenant_", 0) != 0;
  });
  return families;
}

// Values of one family by its tenants.
std::map<std::string, double> Values(const std::vector<TenantStats>& tenants,
                                     const std::string& name) {
  std::map<std::string, double> values;
  for (const MetricFamily& family : TenantFamilies(tenants)) {
    if (family.name != name) continue;
    for (const ClientMetric& metric : family.metric) {
      const double value = metric.counter.value + metric.gauge.value;
      EXPECT_TRUE(values.emplace(LabelOf(metric, "tenant"), value).second) << "a series twice";
    }
  }
  return values;
}

std::vector<TenantStats> Tenants(size_t count) {
  std::vector<TenantStats> tenants(count);
  for (size_t i = 0; i < count; ++i) {
    tenants[i].name = absl::StrCat("t", i);
    tenants[i].accepted = i;
  }
  return tenants;
}

// Every counter of a tenant has a value of its own.
TenantStats Distinct() {
  return {.name = "a",
          .accepted = 1,
          .rejected = 2,
          .finished = {100, 101, 102, 103, 104, 105},
          .started = 3,
          .queue_seconds = 4.5,
          .prompt_tokens = 5,
          .cached_tokens = 6,
          .generated_tokens = 7,
          .load = {.waiting = 8,
                   .waiting_tokens = 9,
                   .running = 10,
                   .kv_bytes = 11,
                   .prefix_bytes = 12,
                   .kv_byte_seconds = 13.5,
                   .cost = 14.5,
                   .cost_of_due = 15.5,
                   .due = 16.5,
                   .loans = 17,
                   .preempted = 18,
                   .swapped_out = 22,
                   .prefix_blocks_lost = 19,
                   .prefix_blocks_taken = 20,
                   .recomputed_tokens = 21}};
}

TEST(TenantMetricsTest, EachCounterReachesItsOwnSeries) {
  std::map<std::string, double> values;
  for (const MetricFamily& family : TenantFamilies({Distinct()})) {
    for (const ClientMetric& metric : family.metric) {
      EXPECT_EQ(LabelOf(metric, "tenant"), "a") << family.name;
      if (family.type == prometheus::MetricType::Histogram) continue;
      const std::string reason = LabelOf(metric, "reason");
      values[absl::StrCat(family.name, reason.empty() ? "" : "/", reason)] =
          metric.counter.value + metric.gauge.value;
    }
  }
  EXPECT_EQ(values, (std::map<std::string, double>{
                        {"quire_tenant_requests_accepted_total", 1},
                        {"quire_tenant_admission_rejections_total", 2},
                        {"quire_tenant_requests_started_total", 3},
                        {"quire_tenant_queue_seconds_total", 4.5},
                        {"quire_tenant_started_prompt_tokens_total", 5},
                        {"quire_tenant_cached_tokens_total", 6},
                        {"quire_tenant_generated_tokens_total", 7},
                        {"quire_tenant_requests_waiting", 8},
                        {"quire_tenant_queued_tokens", 9},
                        {"quire_tenant_requests_running", 10},
                        {"quire_tenant_kv_bytes", 11},
                        {"quire_tenant_prefix_cache_bytes", 12},
                        {"quire_tenant_kv_byte_seconds_total", 13.5},
                        {"quire_tenant_cost_tokens_total", 14.5},
                        {"quire_tenant_fair_received_tokens_total", 15.5},
                        {"quire_tenant_fair_due_tokens_total", 16.5},
                        {"quire_tenant_loans_total", 17},
                        {"quire_tenant_preemptions_total", 18},
                        {"quire_tenant_prefix_cache_lost_blocks_total", 19},
                        {"quire_tenant_prefix_cache_taken_blocks_total", 20},
                        {"quire_tenant_recomputed_tokens_total", 21},
                        {"quire_tenant_swaps_total", 22},
                        {"quire_tenant_requests_finished_total/stop", 100},
                        {"quire_tenant_requests_finished_total/length", 101},
                        {"quire_tenant_requests_finished_total/cancelled", 102},
                        {"quire_tenant_requests_finished_total/deadline", 103},
                        {"quire_tenant_requests_finished_total/error", 104},
                        {"quire_tenant_requests_finished_total/shutdown", 105},
                    }));
}

TEST(TenantMetricsTest, AsManyAsHaveLabelsAreAllNamed) {
  const auto values = Values(Tenants(kMaxTenantLabels), "quire_tenant_requests_accepted_total");
  EXPECT_EQ(values.size(), kMaxTenantLabels);
  EXPECT_EQ(values.count(kOtherTenants), 0u);
  EXPECT_EQ(values.at("t99"), 99);
}

TEST(TenantMetricsTest, ThoseBeyondAreAddedUp) {
  const auto values = Values(Tenants(1000), "quire_tenant_requests_accepted_total");
  EXPECT_EQ(values.size(), kMaxTenantLabels + 1);
  double sum = 0;
  for (const auto& [tenant, value] : values) sum += value;
  EXPECT_EQ(sum, 499500) << "0 to 999";
  EXPECT_EQ(values.at("t0"), 0);
  EXPECT_EQ(values.at("t99"), 99);
  EXPECT_EQ(values.at(kOtherTenants), 499500 - 4950);
}

TEST(TenantMetricsTest, FirstTokensOfThoseBeyondAreAddedUp) {
  std::vector<TenantStats> tenants = Tenants(kMaxTenantLabels + 3);
  for (TenantStats& tenant : tenants) {
    tenant.time_to_first_token.Observe(kTenantFirstTokenEdges, 0.2);
  }
  tenants[1].time_to_first_token.Observe(kTenantFirstTokenEdges, 99);
  std::map<std::string, std::pair<uint64_t, double>> found;
  for (const MetricFamily& family : TenantFamilies(tenants)) {
    if (family.name != "quire_tenant_time_to_first_token_seconds") continue;
    for (const ClientMetric& metric : family.metric) {
      const auto& histogram = metric.histogram;
      ASSERT_EQ(histogram.bucket.size(), kTenantFirstTokenEdges.size());
      EXPECT_EQ(histogram.bucket[0].cumulative_count, 0u) << "up to 0.1 s";
      EXPECT_TRUE(found
                      .emplace(LabelOf(metric, "tenant"),
                               std::pair(histogram.sample_count, histogram.sample_sum))
                      .second);
    }
  }
  EXPECT_EQ(found.size(), kMaxTenantLabels + 1);
  EXPECT_EQ(found.at("t0").first, 1u);
  EXPECT_EQ(found.at("t1"), (std::pair<uint64_t, double>(2, 99.2)));
  EXPECT_EQ(found.at(kOtherTenants).first, 3u);
  EXPECT_DOUBLE_EQ(found.at(kOtherTenants).second, 0.6);
}

TEST(TenantMetricsTest, ATenantWithTheNameOfTheOthersIsOneOfThem) {
  std::vector<TenantStats> tenants = Tenants(200);
  tenants[5].name = kOtherTenants;
  const auto values = Values(tenants, "quire_tenant_requests_accepted_total");
  EXPECT_EQ(values.size(), kMaxTenantLabels + 1);
  EXPECT_EQ(values.at("t100"), 100);
  EXPECT_EQ(values.at(kOtherTenants), 5 + 14850) << "5, and 101 to 199";
}

}  // namespace
}  // namespace quire::server
