#include "server/metrics/grpc_metrics.h"

#include <google/protobuf/descriptor.h>
#include <prometheus/metric_family.h>

#include <algorithm>

#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr char kUnknown[] = "unknown";
// As Go spells them, and with it the dashboards.
constexpr std::array<const char*, kNumGrpcCodes> kCodeNames = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

// Has a series before it has occurred, so that a rate sees the first: OK, and what is not a
// client's own doing (Unknown, DeadlineExceeded, Internal, Unavailable, DataLoss).
bool IsAlwaysShown(size_t code) {
  return code == 0 || code == 2 || code == 4 || code == 13 || code == 14 || code == 15;
}

std::string TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

std::unique_ptr<GrpcMethodCounters> MakeCounters(std::string type, std::string service,
                                                 std::string method) {
  auto counters = std::make_unique<GrpcMethodCounters>();
  counters->type = std::move(type);
  counters->service = std::move(service);
  counters->method = std::move(method);
  return counters;
}

std::vector<ClientMetric::Label> LabelsOf(const GrpcMethodCounters& method) {
  return {
      {"grpc_type", method.type}, {"grpc_service", method.service}, {"grpc_method", method.method}};
}

template <size_t kEdges>
ClientMetric ToMetric(const std::array<double, kEdges>& edges,
                      const SharedHistogram<kEdges>& histogram) {
  return server::ToMetric(View(edges, histogram.Read()));
}

}  // namespace

GrpcMetrics::GrpcMetrics(const std::vector<std::string>& services) {
  const auto* const pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : services) {
    const auto* const service = pool->FindServiceByName(name);
    for (int i = 0; service != nullptr && i < service->method_count(); ++i) {
      methods_.push_back(
          MakeCounters(TypeOf(*service->method(i)), name, service->method(i)->name()));
    }
  }
  methods_.push_back(MakeCounters(kUnknown, kUnknown, kUnknown));
}

GrpcMethodCounters* GrpcMetrics::Find(std::string_view path) const {
  for (const auto& method : methods_) {
    const size_t service = method->service.size();
    if (path.size() == service + method->method.size() + 2 && path[0] == '/' &&
        path[service + 1] == '/' && path.substr(1, service) == method->service &&
        path.substr(service + 2) == method->method) {
      return method.get();
    }
  }
  return methods_.back().get();
}

std::vector<MetricFamily> GrpcMetrics::Collect() const {
  MetricFamily started{"grpc_server_started_total", "Calls begun.", MetricType::Counter, {}};
  MetricFamily handled{"grpc_server_handled_total",
                       "Calls ended, by the code of their status.",
                       MetricType::Counter,
                       {}};
  MetricFamily received{
      "grpc_server_msg_received_total", "Messages received from clients.", MetricType::Counter, {}};
  MetricFamily sent{
      "grpc_server_msg_sent_total", "Messages sent to clients.", MetricType::Counter, {}};
  MetricFamily handling{"grpc_server_handling_seconds",
                        "From a call's start to its status.",
                        MetricType::Histogram,
                        {}};
  const auto add = [](const GrpcMethodCounters& method, double value, MetricFamily* family) {
    ClientMetric& metric = family->metric.emplace_back();
    metric.label = LabelsOf(method);
    metric.counter.value = value;
  };
  for (const auto& method : methods_) {
    add(*method, static_cast<double>(method->started), &started);
    add(*method, static_cast<double>(method->received), &received);
    add(*method, static_cast<double>(method->sent), &sent);
    for (size_t code = 0; code < kNumGrpcCodes; ++code) {
      if (!IsAlwaysShown(code) && method->handled[code] == 0) continue;
      add(*method, static_cast<double>(method->handled[code]), &handled);
      handled.metric.back().label.push_back({"grpc_code", kCodeNames[code]});
    }
    handling.metric.push_back(ToMetric(kHandlingEdges, method->handling));
    handling.metric.back().label = LabelsOf(*method);
  }
  return {started, handled, received, sent, handling};
}

}  // namespace quire::server
