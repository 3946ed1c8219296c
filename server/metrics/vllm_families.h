#pragma once

#include <vector>

#include "server/metrics/metric_families.h"

namespace quire::server {

// What autoscalers, inference gateways and dashboards made for vLLM read, under its names and
// labels and in its units: --metrics-compat=vllm.
void AddVllmFamilies(const MetricLabels& labels, const MetricSnapshot& snapshot,
                     std::vector<prometheus::MetricFamily>* families);

}  // namespace quire::server
