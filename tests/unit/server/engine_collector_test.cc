#include "server/metrics/engine_collector.h"

#include <gtest/gtest.h>

#include <chrono>

namespace quire::server {
namespace {

class FixedClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(std::chrono::seconds(1000)); }
};

double ValueOf(const EngineCollector& collector, const std::string& name, size_t series = 0) {
  for (const auto& family : collector.Collect()) {
    if (family.name != name) continue;
    return family.metric.at(series).gauge.value + family.metric[series].counter.value;
  }
  ADD_FAILURE() << name << " is missing";
  return -1;
}

class EngineCollectorTest : public ::testing::Test {
 protected:
  EngineCollector Collector(bool vllm_names = false) {
    MetricLabels labels;
    labels.model = "demo";
    return EngineCollector(std::move(labels), sources_, vllm_names);
  }

  FixedClock clock_;
  ServerCounters counters_;
  LiveStreams streams_{1};
  Logger log_{LogOptions{.fd = -1}};  // nobody reads it
  GrpcMetrics calls_{{}};
  EngineCollector::Sources sources_ = {
      .stats = [] { return EngineStats(); },
      .tenants = [] { return std::vector<TenantStats>(); },
      .counters = &counters_,
      .streams = &streams_,
      .log = &log_,
      .calls = &calls_,
      .clock = &clock_,
  };
};

TEST_F(EngineCollectorTest, EveryScrapeReadsTheEngineOnce) {
  int reads = 0;
  sources_.stats = [&reads] {
    EngineStats stats;
    stats.accepted = static_cast<uint64_t>(++reads);
    return stats;
  };
  const EngineCollector collector = Collector();
  EXPECT_EQ(ValueOf(collector, "quire_requests_accepted_total"), 1);
  EXPECT_EQ(ValueOf(collector, "quire_requests_accepted_total"), 2);
}

TEST_F(EngineCollectorTest, FrontEndCountersAreReported) {
  counters_.slow_readers = 3;
  counters_.self_probes_answered = 7;
  counters_.live = false;
  counters_.engine_stalled_seconds = 1.5;
  counters_.stalled_readers = 4;
  counters_.refused_connections = 5;
  counters_.accept_failures = 6;
  ASSERT_TRUE(
      streams_.Add(std::make_shared<OutputStream>(nullptr, StreamLimits{1}), TenantId()).ok());
  log_.Info("one");
  log_.LogBounded(LogLevel::kError, "another", {});
  log_.Info("two");
  const EngineCollector collector = Collector();
  EXPECT_EQ(ValueOf(collector, "quire_slow_readers_total"), 3);
  EXPECT_EQ(ValueOf(collector, "quire_self_probes_total"), 7);
  EXPECT_EQ(ValueOf(collector, "quire_live"), 0);
  EXPECT_EQ(ValueOf(collector, "quire_engine_stalled_seconds"), 1.5);
  EXPECT_EQ(ValueOf(collector, "quire_slow_readers_total", 1), 4);
  EXPECT_EQ(ValueOf(collector, "quire_refused_connections_total"), 5);
  EXPECT_EQ(ValueOf(collector, "quire_accept_failures_total"), 6);
  EXPECT_EQ(ValueOf(collector, "quire_streams_open"), 1);
  EXPECT_EQ(ValueOf(collector, "quire_log_messages_total", 0), 2) << "info";
  EXPECT_EQ(ValueOf(collector, "quire_log_messages_total", 1), 0) << "warning";
  EXPECT_EQ(ValueOf(collector, "quire_log_messages_total", 2), 1) << "error";
}

TEST_F(EngineCollectorTest, EveryScrapeReadsTheTenants) {
  uint64_t loans = 4;
  sources_.tenants = [&loans] {
    TenantStats tenant;
    tenant.load.loans = loans++;
    return std::vector<TenantStats>{tenant};
  };
  const EngineCollector collector = Collector();
  EXPECT_EQ(ValueOf(collector, "quire_tenant_loans_total"), 4);
  EXPECT_EQ(ValueOf(collector, "quire_tenant_loans_total"), 5);
}

TEST_F(EngineCollectorTest, TheLastStepIsReportedInUnixTimeOrZero) {
  EngineStats stats;
  sources_.stats = [&stats] { return stats; };
  const EngineCollector collector = Collector();
  EXPECT_EQ(ValueOf(collector, "quire_engine_last_step_timestamp_seconds"), 0);
  stats.last_step = clock_.Now() - std::chrono::seconds(7);
  const double unix_now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_NEAR(ValueOf(collector, "quire_engine_last_step_timestamp_seconds"), unix_now - 7, 60);
}

TEST_F(EngineCollectorTest, OtherNamesComeOnRequestAndSayTheSame) {
  EngineStats stats;
  stats.running = 3;
  stats.waiting = 4;
  stats.finished = {1, 2, 4, 8, 16, 32};
  stats.kv.num_slabs = 10;
  stats.kv.classes[0].active_blocks = 5;
  stats.kv.classes[0].block_tokens = 16;
  stats.time_to_first_token.Observe(kTimeToFirstTokenEdges, 0.3);
  TenantStats tenant;
  tenant.prompt_tokens = 70;
  tenant.load.preempted = 6;
  sources_.stats = [&stats] { return stats; };
  sources_.tenants = [&tenant] { return std::vector<TenantStats>(2, tenant); };
  for (const auto& family : Collector().Collect()) {
    EXPECT_NE(family.name.substr(0, 5), "vllm:") << "not asked for";
  }
  const EngineCollector collector = Collector(/*vllm_names=*/true);
  EXPECT_EQ(ValueOf(collector, "vllm:num_requests_running"), 3);
  EXPECT_EQ(ValueOf(collector, "vllm:num_requests_waiting"), 4);
  EXPECT_EQ(ValueOf(collector, "vllm:kv_cache_usage_perc"), 0.5);
  EXPECT_EQ(ValueOf(collector, "vllm:num_preemptions_total"), 12);
  EXPECT_EQ(ValueOf(collector, "vllm:prompt_tokens_total"), 140);
  EXPECT_EQ(ValueOf(collector, "vllm:request_success_total", 0), 1) << "stop";
  EXPECT_EQ(ValueOf(collector, "vllm:request_success_total", 1), 2) << "length";
  EXPECT_EQ(ValueOf(collector, "vllm:request_success_total", 2), 60) << "abort";
  for (const auto& family : collector.Collect()) {
    if (family.name.substr(0, 5) != "vllm:") continue;
    EXPECT_FALSE(family.help.empty()) << family.name;
    const auto& labels = family.metric.at(0).label;
    ASSERT_GE(labels.size(), 2u);
    EXPECT_EQ(labels[0].name + labels[0].value, "model_namedemo");
    if (family.name == "vllm:cache_config_info") {
      EXPECT_EQ(labels[2].value, "16");
      EXPECT_EQ(labels[3].value, "10");
    }
    if (family.name == "vllm:time_to_first_token_seconds") {
      EXPECT_EQ(family.metric[0].histogram.sample_count, 1u);
      EXPECT_EQ(family.metric[0].histogram.sample_sum, 0.3);
    }
  }
}

}  // namespace
}  // namespace quire::server
