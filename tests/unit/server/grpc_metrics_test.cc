#include "server/metrics/grpc_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "quire/v1/inference.pb.h"

namespace quire::server {
namespace {

// Of the API, whose descriptors are linked in.
constexpr char kService[] = "quire.v1.InferenceService";

std::string Text(const prometheus::ClientMetric& metric) {
  std::string text;
  for (const auto& label : metric.label) absl::StrAppend(&text, "/", label.value);
  return text;
}

// Counters by their labels.
std::map<std::string, double> Values(const GrpcMetrics& metrics, const std::string& name) {
  std::map<std::string, double> values;
  for (const auto& family : metrics.Collect()) {
    if (family.name != name) continue;
    EXPECT_FALSE(family.help.empty());
    for (const auto& metric : family.metric) values[Text(metric)] = metric.counter.value;
  }
  return values;
}

class GrpcMetricsTest : public ::testing::Test {
 protected:
  // The descriptors are linked in where something of them is used.
  static void SetUpTestSuite() { ASSERT_NE(v1::GenerateRequest::descriptor(), nullptr); }
};

TEST_F(GrpcMetricsTest, MethodsHaveSeriesBeforeTheirFirstCall) {
  const GrpcMetrics metrics({kService});
  const auto started = Values(metrics, "grpc_server_started_total");
  EXPECT_EQ(started.count(absl::StrCat("/server_stream/", kService, "/Generate")), 1u);
  EXPECT_EQ(started.count(absl::StrCat("/unary/", kService, "/ListModels")), 1u);
  EXPECT_EQ(started.count("/unknown/unknown/unknown"), 1u);
  const auto handled = Values(metrics, "grpc_server_handled_total");
  EXPECT_EQ(handled.size(), 6 * started.size());
  for (const char* code :
       {"OK", "Unknown", "DeadlineExceeded", "Internal", "Unavailable", "DataLoss"}) {
    EXPECT_EQ(handled.count(absl::StrCat("/server_stream/", kService, "/Generate/", code)), 1u)
        << code;
  }
}

TEST_F(GrpcMetricsTest, CallsAreCountedUnderTheirMethodAndCode) {
  const GrpcMetrics metrics({kService, "no.such.Service"});
  GrpcMethodCounters* const generate = metrics.Find(absl::StrCat("/", kService, "/Generate"));
  generate->started = 5;
  generate->sent = 70;
  generate->received = 4;
  generate->handled[0] = 3;
  generate->handled[8] = 2;
  const std::string labels = absl::StrCat("/server_stream/", kService, "/Generate");
  EXPECT_EQ(Values(metrics, "grpc_server_started_total")[labels], 5);
  EXPECT_EQ(Values(metrics, "grpc_server_msg_sent_total")[labels], 70);
  EXPECT_EQ(Values(metrics, "grpc_server_msg_received_total")[labels], 4);
  EXPECT_EQ(Values(metrics, "grpc_server_handled_total")[labels + "/OK"], 3);
  EXPECT_EQ(Values(metrics, "grpc_server_handled_total")[labels + "/ResourceExhausted"], 2);
  EXPECT_EQ(Values(metrics, "grpc_server_handled_total")[labels + "/Internal"], 0);
  EXPECT_EQ(Values(metrics, "grpc_server_handled_total").count(labels + "/Canceled"), 0u);
}

TEST_F(GrpcMetricsTest, WhatIsNotKnownIsOneMethod) {
  const GrpcMetrics metrics({kService});
  GrpcMethodCounters* const unknown = metrics.Find("/a.B/C");
  EXPECT_EQ(unknown->method, "unknown");
  for (const std::string& path :
       {std::string(), std::string("/"), absl::StrCat("/", kService),
        absl::StrCat(kService, "/Generate"), absl::StrCat("/", kService, "/Generat"),
        absl::StrCat("/", kService, "/Generate2"), absl::StrCat("/", kService, ".Generate")}) {
    EXPECT_EQ(metrics.Find(path), unknown) << path;
  }
}

TEST_F(GrpcMetricsTest, TimesAreCumulative) {
  const GrpcMetrics metrics({kService});
  auto& handling = metrics.Find(absl::StrCat("/", kService, "/Generate"))->handling;
  for (const double seconds : {0.001, 0.005, 0.2, 100.0}) handling.Observe(kHandlingEdges, seconds);
  for (const auto& family : metrics.Collect()) {
    if (family.name != "grpc_server_handling_seconds") continue;
    for (const auto& metric : family.metric) {
      const auto& histogram = metric.histogram;
      const bool called = Text(metric) == absl::StrCat("/server_stream/", kService, "/Generate");
      EXPECT_EQ(histogram.sample_count, called ? 4u : 0u) << Text(metric);
      if (!called) continue;
      EXPECT_DOUBLE_EQ(histogram.sample_sum, 100.206);
      EXPECT_EQ(histogram.bucket[0].cumulative_count, 2u) << "an edge belongs to its bucket";
      EXPECT_EQ(histogram.bucket.back().cumulative_count, 3u);
    }
  }
}

}  // namespace
}  // namespace quire::server
