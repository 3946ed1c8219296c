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

std::vector<TenantStats> NoTenants() { return {}; }

TEST(EngineCollectorTest, EveryScrapeReadsTheEngineOnce) {
  FixedClock clock;
  ServerCounters counters;
  LiveStreams streams(1);
  int reads = 0;
  const EngineCollector collector(
      {},
      [&reads] {
        EngineStats stats;
        stats.accepted = static_cast<uint64_t>(++reads);
        return stats;
      },
      NoTenants, &counters, &streams, &clock);
  EXPECT_EQ(ValueOf(collector, "quire_requests_accepted_total"), 1);
  EXPECT_EQ(ValueOf(collector, "quire_requests_accepted_total"), 2);
}

TEST(EngineCollectorTest, FrontEndCountersAreReported) {
  FixedClock clock;
  ServerCounters counters;
  counters.slow_readers = 3;
  counters.self_probes_answered = 7;
  counters.live = false;
  counters.engine_stalled_seconds = 1.5;
  counters.stalled_readers = 4;
  counters.refused_connections = 5;
  counters.accept_failures = 6;
  LiveStreams streams(1);
  ASSERT_TRUE(
      streams.Add(std::make_shared<OutputStream>(nullptr, StreamLimits{1}), TenantId()).ok());
  const EngineCollector collector(
      {}, [] { return EngineStats(); }, NoTenants, &counters, &streams, &clock);
  EXPECT_EQ(ValueOf(collector, "quire_slow_readers_total"), 3);
  EXPECT_EQ(ValueOf(collector, "quire_self_probes_total"), 7);
  EXPECT_EQ(ValueOf(collector, "quire_live"), 0);
  EXPECT_EQ(ValueOf(collector, "quire_engine_stalled_seconds"), 1.5);
  EXPECT_EQ(ValueOf(collector, "quire_slow_readers_total", 1), 4);
  EXPECT_EQ(ValueOf(collector, "quire_refused_connections_total"), 5);
  EXPECT_EQ(ValueOf(collector, "quire_accept_failures_total"), 6);
  EXPECT_EQ(ValueOf(collector, "quire_streams_open"), 1);
}

TEST(EngineCollectorTest, EveryScrapeReadsTheTenants) {
  FixedClock clock;
  ServerCounters counters;
  LiveStreams streams(1);
  uint64_t loans = 4;
  const auto read_tenants = [&loans] {
    TenantStats tenant;
    tenant.load.loans = loans++;
    return std::vector<TenantStats>{tenant};
  };
  const EngineCollector collector(
      {}, [] { return EngineStats(); }, read_tenants, &counters, &streams, &clock);
  EXPECT_EQ(ValueOf(collector, "quire_tenant_loans_total"), 4);
  EXPECT_EQ(ValueOf(collector, "quire_tenant_loans_total"), 5);
}

TEST(EngineCollectorTest, TheLastStepIsReportedInUnixTimeOrZero) {
  FixedClock clock;
  ServerCounters counters;
  LiveStreams streams(1);
  EngineStats stats;
  const EngineCollector collector(
      {}, [&stats] { return stats; }, NoTenants, &counters, &streams, &clock);
  EXPECT_EQ(ValueOf(collector, "quire_engine_last_step_timestamp_seconds"), 0);
  stats.last_step = clock.Now() - std::chrono::seconds(7);
  const double unix_now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_NEAR(ValueOf(collector, "quire_engine_last_step_timestamp_seconds"), unix_now - 7, 60);
}

}  // namespace
}  // namespace quire::server
