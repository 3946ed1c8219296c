#pragma once

#include <prometheus/collectable.h>

#include <string>
#include <utility>
#include <vector>

#include "server/tls_files.h"

namespace quire::server {

// When the certificate in the files ends, read at each scrape, as they may be replaced while the
// server runs. Nothing without TLS, or while the files do not fit together. Any thread.
class CertificateMetrics final : public prometheus::Collectable {
 public:
  CertificateMetrics(std::string model, TlsFiles files)
      : model_(std::move(model)), files_(std::move(files)) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::string model_;
  const TlsFiles files_;
};

}  // namespace quire::server
