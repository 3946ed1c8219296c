#pragma once

#include <prometheus/collectable.h>

#include <vector>

namespace quire::server {

// The process_* families that Prometheus client libraries agree on, read from /proc at each
// scrape. A value that cannot be read is left out. Stateless; any thread.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace quire::server
