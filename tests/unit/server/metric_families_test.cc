#include "server/metrics/metric_families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

using ::testing::StartsWith;

MetricLabels Labels() { return {"demo", "cpu", "bf16", "4", "2", "64", "1.2.3", "abc123"}; }

// As if the model had one cache class and one tenant, unless the snapshot says more.
std::map<std::string, prometheus::MetricFamily> Families(MetricSnapshot snapshot) {
  snapshot.engine.kv.num_classes = std::max(snapshot.engine.kv.num_classes, 1);
  if (snapshot.tenants.empty()) snapshot.tenants.resize(1);
  std::map<std::string, prometheus::MetricFamily> families;
  for (auto& family : BuildMetricFamilies(Labels(), snapshot)) {
    EXPECT_TRUE(families.emplace(family.name, family).second) << family.name << " comes twice";
  }
  return families;
}

std::string LabelOf(const prometheus::ClientMetric& metric, const std::string& name) {
  for (const auto& label : metric.label) {
    if (label.name == name) return label.value;
  }
  return "";
}

double SumOf(const prometheus::MetricFamily& family) {
  double sum = 0;
  for (const auto& metric : family.metric) sum += metric.gauge.value + metric.counter.value;
  return sum;
}

TEST(MetricFamiliesTest, EveryFamilyIsThere) {
  const auto families = Families({});
  for (const char* name : {"quire_kv_blocks",
                           "quire_kv_capacity_blocks",
                           "quire_kv_block_bytes",
                           "quire_kv_usage_ratio",
                           "quire_kv_promised_blocks",
                           "quire_kv_token_slots",
                           "quire_kv_cache_config_info",
                           "quire_kv_allocated_blocks_total",
                           "quire_kv_freed_blocks_total",
                           "quire_memory_bytes",
                           "quire_prefix_cache_queried_tokens_total",
                           "quire_prefix_cache_hit_tokens_total",
                           "quire_prefix_cache_evicted_blocks_total",
                           "quire_requests_running",
                           "quire_requests_waiting",
                           "quire_requests_paused",
                           "quire_queued_tokens",
                           "quire_requests_accepted_total",
                           "quire_requests_finished_total",
                           "quire_admission_rejections_total",
                           "quire_streams_open",
                           "quire_slow_readers_total",
                           "quire_refused_connections_total",
                           "quire_accept_failures_total",
                           "quire_prompt_tokens_total",
                           "quire_generated_tokens_total",
                           "quire_discarded_tokens_total",
                           "quire_steps_total",
                           "quire_engine_busy_seconds_total",
                           "quire_engine_last_step_timestamp_seconds",
                           "quire_engine_stalled_seconds",
                           "quire_live",
                           "quire_self_probes_total",
                           "quire_time_to_first_token_seconds",
                           "quire_request_queue_seconds",
                           "quire_inter_token_latency_seconds",
                           "quire_request_duration_seconds",
                           "quire_step_duration_seconds",
                           "quire_request_prefill_seconds",
                           "quire_request_decode_seconds",
                           "quire_request_time_per_output_token_seconds",
                           "quire_request_prompt_tokens",
                           "quire_request_generated_tokens",
                           "quire_request_preemptions",
                           "quire_step_tokens",
                           "quire_step_sequences",
                           "quire_scheduler_duration_seconds",
                           "quire_stream_write_seconds",
                           "quire_requests_waiting_by_reason",
                           "quire_preemptions_total",
                           "quire_recomputed_tokens_total",
                           "quire_log_messages_total",
                           "quire_kv_logical_blocks",
                           "quire_tenant_time_to_first_token_seconds",
                           "quire_build_info",
                           "quire_tenant_requests_running",
                           "quire_tenant_requests_waiting",
                           "quire_tenant_queued_tokens",
                           "quire_tenant_requests_accepted_total",
                           "quire_tenant_requests_finished_total",
                           "quire_tenant_admission_rejections_total",
                           "quire_tenant_requests_started_total",
                           "quire_tenant_queue_seconds_total",
                           "quire_tenant_started_prompt_tokens_total",
                           "quire_tenant_cached_tokens_total",
                           "quire_tenant_generated_tokens_total",
                           "quire_tenant_kv_bytes",
                           "quire_tenant_kv_byte_seconds_total",
                           "quire_tenant_prefix_cache_bytes",
                           "quire_tenant_prefix_cache_lost_blocks_total",
                           "quire_tenant_prefix_cache_taken_blocks_total",
                           "quire_tenant_cost_tokens_total",
                           "quire_tenant_fair_received_tokens_total",
                           "quire_tenant_fair_due_tokens_total",
                           "quire_tenant_loans_total",
                           "quire_tenant_preemptions_total",
                           "quire_tenant_swaps_total",
                           "quire_tenant_recomputed_tokens_total",
                           "quire_kv_host_bytes",
                           "quire_kv_swapped_bytes_total"}) {
    EXPECT_EQ(families.count(name), 1u) << name;
  }
  EXPECT_EQ(families.size(), 80u) << "a family is not in this list";
}

TEST(MetricFamiliesTest, EveryFamilyHasHelpTheModelLabelAndDistinctSeries) {
  for (const auto& [name, family] : Families({})) {
    EXPECT_THAT(name, StartsWith("quire_"));
    EXPECT_NE(family.help, "") << name;
    EXPECT_EQ(family.type == prometheus::MetricType::Counter,
              name.size() > 6 && name.substr(name.size() - 6) == "_total")
        << name;
    std::set<std::vector<prometheus::ClientMetric::Label>> series;
    for (const auto& metric : family.metric) {
      EXPECT_EQ(LabelOf(metric, "model"), "demo") << name;
      EXPECT_TRUE(series.insert(metric.label).second) << name << " has a series twice";
    }
  }
}

TEST(MetricFamiliesTest, TheSingleSeriesThatAutoscalersReadHaveNoOtherLabel) {
  for (const char* name :
       {"quire_requests_running", "quire_requests_waiting", "quire_kv_usage_ratio"}) {
    const auto families = Families({});
    ASSERT_EQ(families.at(name).metric.size(), 1u);
    EXPECT_EQ(families.at(name).metric[0].label.size(), 1u);
  }
}

TEST(MetricFamiliesTest, KvStatesAddUpAndSlotsMatchActiveBlocks) {
  MetricSnapshot snapshot;
  snapshot.engine.kv.classes[0].total_blocks = 10;
  snapshot.engine.kv.classes[0].free_blocks = 3;
  snapshot.engine.kv.classes[0].cached_blocks = 2;
  snapshot.engine.kv.classes[0].active_blocks = 4;
  snapshot.engine.kv.classes[0].fenced_blocks = 1;
  snapshot.engine.kv.classes[0].filled_slots = 50;
  snapshot.engine.kv.classes[0].block_tokens = 16;
  snapshot.engine.kv.num_slabs = 10;
  const auto families = Families(snapshot);
  EXPECT_EQ(SumOf(families.at("quire_kv_blocks")), SumOf(families.at("quire_kv_capacity_blocks")));
  EXPECT_EQ(SumOf(families.at("quire_kv_token_slots")), 4 * 16);
  EXPECT_EQ(SumOf(families.at("quire_kv_usage_ratio")), 0.4);
}

TEST(MetricFamiliesTest, MemoryIsToldByWhatIsInIt) {
  MetricSnapshot snapshot;
  snapshot.engine.memory = {.weights = 400, .workspace = 30, .graphs = 2};
  snapshot.engine.kv.arena_bytes = 5000;
  const auto families = Families(snapshot);
  std::map<std::string, double> bytes;
  for (const auto& metric : families.at("quire_memory_bytes").metric) {
    bytes[LabelOf(metric, "kind")] = metric.gauge.value;
  }
  EXPECT_EQ(bytes, (std::map<std::string, double>{
                       {"weights", 400}, {"kv", 5000}, {"workspace", 30}, {"graphs", 2}}));
}

TEST(MetricFamiliesTest, EachCacheClassHasItsOwnSeries) {
  MetricSnapshot snapshot;
  KvSnapshot& kv = snapshot.engine.kv;
  kv.num_classes = 2;
  kv.num_slabs = 10;
  kv.classes[0].active_blocks = 3;
  kv.classes[1] = {.active_blocks = 8, .block_tokens = 16, .blocks_per_slab = 4, .window = 512};
  const auto families = Families(snapshot);
  std::map<std::string, double> active;
  for (const auto& metric : families.at("quire_kv_blocks").metric) {
    if (LabelOf(metric, "state") != "active") continue;
    active[LabelOf(metric, "cache_class")] = metric.gauge.value;
  }
  EXPECT_EQ(active, (std::map<std::string, double>{{"full", 3}, {"window_512", 8}}));
  EXPECT_EQ(families.at("quire_kv_cache_config_info").metric.size(), 2u);
  EXPECT_EQ(SumOf(families.at("quire_kv_usage_ratio")), 0.5) << "3 slabs and 2 of 10";
}

TEST(MetricFamiliesTest, FinishedRequestsAreReportedByReason) {
  MetricSnapshot snapshot;
  for (size_t i = 0; i < kNumFinishReasons; ++i) snapshot.engine.finished[i] = 100 + i;
  const auto families = Families(snapshot);
  const auto& metrics = families.at("quire_requests_finished_total").metric;
  ASSERT_EQ(metrics.size(), size_t{kNumFinishReasons});
  for (const auto& metric : metrics) {
    bool found = false;
    for (int i = 0; i < kNumFinishReasons; ++i) {
      if (LabelOf(metric, "reason") != FinishReasonName(static_cast<FinishReason>(i))) continue;
      EXPECT_EQ(metric.counter.value, 100 + i);
      found = true;
    }
    EXPECT_TRUE(found) << LabelOf(metric, "reason");
  }
}

TEST(MetricFamiliesTest, EachCounterReachesItsOwnSeries) {
  MetricSnapshot snapshot;
  snapshot.engine.rejected_queue_full = 1;
  snapshot.engine.rejected_draining = 10;
  snapshot.engine.rejected_too_long = 100;
  snapshot.rejected_invalid = 1000;
  snapshot.rejected_streams = 10000;
  snapshot.rejected_unauthenticated = 100000;
  snapshot.engine.rejected_tenant_queue_full = 2;
  snapshot.engine.rejected_deadline = 20;
  snapshot.engine.step_duration[0].counts[3] = 1;
  snapshot.engine.step_duration[1].counts[4] = 10;
  snapshot.engine.step_duration[2].counts[5] = 100;
  snapshot.engine.waits = {.turn = 1, .tenant = 2, .prefix = 3, .reader = 4};
  snapshot.tenants.resize(2);
  snapshot.tenants[0].load = {.preempted = 5, .swapped_out = 2, .recomputed_tokens = 7};
  snapshot.tenants[1].load = {.preempted = 10, .swapped_out = 1, .recomputed_tokens = 70};
  snapshot.engine.schedule_seconds = 0.5;
  snapshot.engine.forward_seconds = 2;
  const auto families = Families(snapshot);
  const auto value = [&](const char* family, const char* label, const char* wanted) {
    for (const auto& metric : families.at(family).metric) {
      if (LabelOf(metric, label) == wanted) return metric.counter.value + metric.gauge.value;
    }
    return -1.0;
  };
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "queue_full"), 1);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "draining"), 10);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "too_long"), 100);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "invalid"), 1000);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "streams"), 10000);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "unauthenticated"), 100000);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "tenant_queue_full"), 2);
  EXPECT_EQ(value("quire_admission_rejections_total", "reason", "deadline"), 20);
  EXPECT_EQ(value("quire_steps_total", "kind", "prefill"), 1);
  EXPECT_EQ(value("quire_steps_total", "kind", "decode"), 10);
  EXPECT_EQ(value("quire_steps_total", "kind", "mixed"), 100);
  EXPECT_EQ(value("quire_requests_waiting_by_reason", "reason", "turn"), 1);
  EXPECT_EQ(value("quire_requests_waiting_by_reason", "reason", "tenant"), 2);
  EXPECT_EQ(value("quire_requests_waiting_by_reason", "reason", "prefix"), 3);
  EXPECT_EQ(value("quire_requests_waiting_by_reason", "reason", "reader"), 4);
  EXPECT_EQ(value("quire_preemptions_total", "mode", "recompute"), 12);
  EXPECT_EQ(value("quire_preemptions_total", "mode", "swap"), 3);
  EXPECT_EQ(value("quire_recomputed_tokens_total", "model", "demo"), 77);
  EXPECT_EQ(value("quire_engine_busy_seconds_total", "stage", "schedule"), 0.5);
  EXPECT_EQ(value("quire_engine_busy_seconds_total", "stage", "forward"), 2);
}

TEST(MetricFamiliesTest, HistogramsAreCumulativeAndCountEveryObservation) {
  MetricSnapshot snapshot;
  auto& histogram = snapshot.engine.step_duration[0];
  for (double value : {0.0001, 0.0005, 0.0015, 0.5, 99.0}) {
    histogram.Observe(kStepDurationEdges, value);
  }
  const auto families = Families(snapshot);
  const auto& result = families.at("quire_step_duration_seconds").metric[0].histogram;
  ASSERT_EQ(result.bucket.size(), kStepDurationEdges.size());
  uint64_t before = 0;
  for (size_t i = 0; i < result.bucket.size(); ++i) {
    EXPECT_EQ(result.bucket[i].upper_bound, kStepDurationEdges[i]);
    EXPECT_GE(result.bucket[i].cumulative_count, before);
    before = result.bucket[i].cumulative_count;
  }
  EXPECT_EQ(result.bucket[0].cumulative_count, 2u) << "an edge belongs to its bucket";
  EXPECT_EQ(result.bucket.back().cumulative_count, 4u);
  EXPECT_EQ(result.sample_count, 5u);
  EXPECT_DOUBLE_EQ(result.sample_sum, 0.0001 + 0.0005 + 0.0015 + 0.5 + 99.0);
}

TEST(MetricFamiliesTest, TheInfoFamiliesSayWhatIsRunning) {
  MetricSnapshot snapshot;
  snapshot.engine.kv.classes[0].block_tokens = 16;
  snapshot.engine.kv.classes[0].blocks_per_slab = 7;
  snapshot.engine.kv.num_slabs = 11;
  const auto families = Families(snapshot);
  const auto& kv = families.at("quire_kv_cache_config_info").metric.at(0);
  EXPECT_EQ(kv.gauge.value, 1);
  EXPECT_EQ(LabelOf(kv, "block_size"), "16");
  EXPECT_EQ(LabelOf(kv, "num_gpu_blocks"), "77");
  EXPECT_EQ(LabelOf(kv, "kv_heads"), "2");
  EXPECT_EQ(LabelOf(kv, "dtype"), "bf16");
  EXPECT_EQ(LabelOf(families.at("quire_build_info").metric.at(0), "version"), "1.2.3");
  EXPECT_EQ(LabelOf(families.at("quire_build_info").metric.at(0), "commit"), "abc123");
}

}  // namespace
}  // namespace quire::server
