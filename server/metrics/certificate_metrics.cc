#include "server/metrics/certificate_metrics.h"

#include <prometheus/metric_family.h>

namespace quire::server {

std::vector<prometheus::MetricFamily> CertificateMetrics::Collect() const {
  if (files_.empty()) return {};
  const absl::StatusOr<absl::Time> end = CheckTlsFiles(files_);
  if (!end.ok()) return {};
  prometheus::ClientMetric metric;
  metric.label = {{"model", model_}};
  metric.gauge.value = absl::ToDoubleSeconds(*end - absl::UnixEpoch());
  return {{"quire_tls_certificate_expiry_timestamp_seconds",
           "When the certificate of --tls-cert ends, in Unix time. Only with TLS.",
           prometheus::MetricType::Gauge,
           {metric}}};
}

}  // namespace quire::server
