#include "server/metrics/vllm_families.h"

#include <numeric>
#include <string>
#include <utility>

#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class VllmFamilies {
 public:
  VllmFamilies(const std::string& model, std::vector<MetricFamily>* families)
      : labels_({{"model_name", model}, {"engine", "0"}}), families_(families) {}

  void Add(const char* name, MetricType type, const char* help, double value,
           std::vector<ClientMetric::Label> more = {}) {
    ClientMetric metric;
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    Add(name, type, help, std::move(metric), std::move(more));
  }
  void Add(const char* name, const char* help, const HistogramView& histogram) {
    Add(name, MetricType::Histogram, help, ToMetric(histogram), {});
  }

 private:
  // To the last family where that has the name.
  void Add(const char* name, MetricType type, const char* help, ClientMetric metric,
           std::vector<ClientMetric::Label> more) {
    if (families_->back().name != name) families_->push_back({name, help, type, {}});
    metric.label = labels_;
    for (ClientMetric::Label& label : more) metric.label.push_back(std::move(label));
    families_->back().metric.push_back(std::move(metric));
  }

  const std::vector<ClientMetric::Label> labels_;
  std::vector<MetricFamily>* const families_;
};

}  // namespace

void AddVllmFamilies(const MetricLabels& labels, const MetricSnapshot& snapshot,
                     std::vector<MetricFamily>* families) {
  constexpr auto kGauge = MetricType::Gauge;
  constexpr auto kCounter = MetricType::Counter;
  const EngineStats& stats = snapshot.engine;
  VllmFamilies vllm(labels.model, families);
  vllm.Add("vllm:num_requests_running", kGauge, "quire_requests_running.", double(stats.running));
  vllm.Add("vllm:num_requests_waiting", kGauge, "quire_requests_waiting.", double(stats.waiting));
  vllm.Add("vllm:kv_cache_usage_perc", kGauge, "quire_kv_usage_ratio, 0 to 1.",
           stats.kv.UsageRatio());
  const KvClassSnapshot& kv = stats.kv.classes[0];
  vllm.Add("vllm:cache_config_info", kGauge, "Shape of the KV cache; the value is 1.", 1,
           {{"block_size", std::to_string(kv.block_tokens)},
            {"num_gpu_blocks", std::to_string(int64_t{stats.kv.num_slabs} * kv.blocks_per_slab)}});
  vllm.Add("vllm:prefix_cache_queries_total", kCounter, "quire_prefix_cache_queried_tokens_total.",
           double(stats.kv.prefix_queried_tokens));
  vllm.Add("vllm:prefix_cache_hits_total", kCounter, "quire_prefix_cache_hit_tokens_total.",
           double(stats.kv.prefix_hit_tokens));
  uint64_t preemptions = 0, prompt_tokens = 0;
  for (const TenantStats& tenant : snapshot.tenants) {
    preemptions += tenant.load.preempted;
    prompt_tokens += tenant.prompt_tokens;
  }
  vllm.Add("vllm:num_preemptions_total", kCounter, "quire_preemptions_total of all modes.",
           double(preemptions));
  vllm.Add("vllm:prompt_tokens_total", kCounter,
           "Tokens of the prompts that have begun to run, computed or found.",
           double(prompt_tokens));
  vllm.Add("vllm:generation_tokens_total", kCounter, "quire_generated_tokens_total.",
           double(stats.generated_tokens));
  const uint64_t stopped = stats.finished[static_cast<size_t>(FinishReason::kStop)];
  const uint64_t full = stats.finished[static_cast<size_t>(FinishReason::kLength)];
  const uint64_t all = std::accumulate(stats.finished.begin(), stats.finished.end(), uint64_t{0});
  for (const auto& [reason, count] : {std::pair<const char*, uint64_t>{"stop", stopped},
                                      {"length", full},
                                      {"abort", all - stopped - full}}) {
    vllm.Add("vllm:request_success_total", kCounter,
             "quire_requests_finished_total; what is neither stop nor length is an abort.",
             double(count), {{"finished_reason", reason}});
  }
  vllm.Add("vllm:time_to_first_token_seconds", "quire_time_to_first_token_seconds.",
           View(kTimeToFirstTokenEdges, stats.time_to_first_token));
  vllm.Add("vllm:inter_token_latency_seconds", "quire_inter_token_latency_seconds.",
           View(kInterTokenEdges, stats.inter_token));
  vllm.Add("vllm:request_time_per_output_token_seconds",
           "quire_request_time_per_output_token_seconds.",
           View(kInterTokenEdges, stats.time_per_output_token));
  vllm.Add("vllm:e2e_request_latency_seconds", "quire_request_duration_seconds.",
           View(kRequestDurationEdges, stats.request_duration));
  vllm.Add("vllm:request_queue_time_seconds", "quire_request_queue_seconds.",
           View(kTimeToFirstTokenEdges, stats.queue_time));
  vllm.Add("vllm:request_prefill_time_seconds", "quire_request_prefill_seconds.",
           View(kTimeToFirstTokenEdges, stats.prefill_time));
  vllm.Add("vllm:request_decode_time_seconds", "quire_request_decode_seconds.",
           View(kTimeToFirstTokenEdges, stats.decode_time));
}

}  // namespace quire::server
