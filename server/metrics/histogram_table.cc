#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

template <StepKind kKind>
HistogramView StepDuration(const MetricSnapshot& s) {
  return View(kStepDurationEdges, s.engine.step_duration[static_cast<size_t>(kKind)]);
}

using S = const MetricSnapshot&;

const HistogramSeries kTable[] = {
    {"quire_time_to_first_token_seconds",
     "From a request's arrival to its first token: queue and prefill. What users wait for before "
     "they see anything.",
     nullptr, nullptr,
     [](S s) { return View(kTimeToFirstTokenEdges, s.engine.time_to_first_token); }},
    {"quire_request_queue_seconds",
     "From a request's arrival to its first step. Most of the time to the first token: there are "
     "too few places, too little KV memory, or too much load.",
     nullptr, nullptr, [](S s) { return View(kTimeToFirstTokenEdges, s.engine.queue_time); }},
    {"quire_request_prefill_seconds",
     "From a request's first step to its first token, preemptions in between too.", nullptr,
     nullptr, [](S s) { return View(kTimeToFirstTokenEdges, s.engine.prefill_time); }},
    {"quire_request_decode_seconds",
     "From a request's first token to its last, of those that have ended with two or more. With "
     "the time in which its client did not read.",
     nullptr, nullptr, [](S s) { return View(kTimeToFirstTokenEdges, s.engine.decode_time); }},
    {"quire_inter_token_latency_seconds",
     "Between two tokens of a request, but for those between which its client did not read.",
     nullptr, nullptr, [](S s) { return View(kInterTokenEdges, s.engine.inter_token); }},
    {"quire_request_time_per_output_token_seconds",
     "Of a request that has ended with two tokens or more: quire_request_decode_seconds by the "
     "tokens behind the first.",
     nullptr, nullptr, [](S s) { return View(kInterTokenEdges, s.engine.time_per_output_token); }},
    {"quire_request_duration_seconds", "From a request's arrival to its end, whatever that was.",
     nullptr, nullptr, [](S s) { return View(kRequestDurationEdges, s.engine.request_duration); }},
    {"quire_request_prompt_tokens", "Tokens of the prompt, of requests that have ended.", nullptr,
     nullptr, [](S s) { return View(kRequestTokensEdges, s.engine.request_prompt_tokens); }},
    {"quire_request_generated_tokens", "Tokens of the answer, of requests that have ended.",
     nullptr, nullptr,
     [](S s) { return View(kRequestTokensEdges, s.engine.request_generated_tokens); }},
    {"quire_request_preemptions",
     "How often a request had to give up its place, of those that have ended.", nullptr, nullptr,
     [](S s) { return View(kPreemptionsEdges, s.engine.request_preemptions); }},
    {"quire_step_duration_seconds",
     "From a step's launch to its completion, by content: prompt chunks, one token for each "
     "running request, or both.",
     "kind", "prefill", StepDuration<StepKind::kPrefill>},
    {"quire_step_duration_seconds", "", "kind", "decode", StepDuration<StepKind::kDecode>},
    {"quire_step_duration_seconds", "", "kind", "mixed", StepDuration<StepKind::kMixed>},
    {"quire_step_tokens",
     "Query tokens of a step. Always near --max-step-tokens: prompts fill the steps.", nullptr,
     nullptr, [](S s) { return View(kStepSizeEdges, s.engine.step_tokens); }},
    {"quire_step_sequences", "Requests that a step computes something for.", nullptr, nullptr,
     [](S s) { return View(kStepSizeEdges, s.engine.step_sequences); }},
    {"quire_scheduler_duration_seconds",
     "Of a step, the engine thread's time outside the model: choosing, promising KV, committing, "
     "handing tokens over.",
     nullptr, nullptr, [](S s) { return View(kSchedulerDurationEdges, s.engine.schedule_time); }},
    {"quire_stream_write_seconds",
     "From a message's write to its completion, when gRPC has taken it for the connection: long "
     "where clients read slowly.",
     nullptr, nullptr, [](S s) { return View(kStreamWriteEdges, s.stream_writes); }},
};

}  // namespace

prometheus::ClientMetric ToMetric(const HistogramView& histogram) {
  prometheus::ClientMetric metric;
  uint64_t cumulative = 0;
  for (size_t i = 0; i < histogram.edges.size(); ++i) {
    cumulative += histogram.counts[i];
    metric.histogram.bucket.push_back({cumulative, histogram.edges[i]});
  }
  metric.histogram.sample_count = cumulative + histogram.counts[histogram.edges.size()];
  metric.histogram.sample_sum = histogram.sum;
  return metric;
}

std::span<const HistogramSeries> HistogramTable() { return kTable; }

}  // namespace quire::server
