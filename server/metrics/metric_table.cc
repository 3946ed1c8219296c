#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

constexpr auto kGauge = prometheus::MetricType::Gauge;
constexpr auto kCounter = prometheus::MetricType::Counter;

template <FinishReason kReason>
double Finished(const MetricSnapshot& s) {
  return static_cast<double>(s.engine.finished[static_cast<size_t>(kReason)]);
}

template <typename Value>
double Sum(const std::vector<TenantStats>& tenants, Value value) {
  double sum = 0;
  for (const TenantStats& tenant : tenants) sum += static_cast<double>(value(tenant.load));
  return sum;
}

double Logged(const MetricSnapshot& s, LogLevel level) {
  return static_cast<double>(s.log_messages[static_cast<size_t>(level)]);
}

using S = const MetricSnapshot&;

const MetricSeries kTable[] = {
    {"quire_kv_usage_ratio", kGauge, "Active KV blocks as a fraction of the KV memory, 0 to 1.",
     nullptr, nullptr, [](S s) { return s.engine.kv.UsageRatio(); }},

    {"quire_memory_bytes", kGauge,
     "Memory of the device by what is in it. graphs: recorded decode steps, as far as the device "
     "can tell.",
     "kind", "weights", [](S s) { return double(s.engine.memory.weights); }},
    {"quire_memory_bytes", kGauge, "", "kind", "kv",
     [](S s) { return double(s.engine.kv.arena_bytes); }},
    {"quire_memory_bytes", kGauge, "", "kind", "workspace",
     [](S s) { return double(s.engine.memory.workspace); }},
    {"quire_memory_bytes", kGauge, "", "kind", "graphs",
     [](S s) { return double(s.engine.memory.graphs); }},
    {"quire_requests_running", kGauge, "Requests that take part in steps.", nullptr, nullptr,
     [](S s) { return double(s.engine.running); }},
    {"quire_requests_waiting", kGauge, "Requests accepted and not running, preempted ones too.",
     nullptr, nullptr, [](S s) { return double(s.engine.waiting); }},
    {"quire_requests_paused", kGauge,
     "Of both, those of which no more is computed until their clients read.", nullptr, nullptr,
     [](S s) { return double(s.engine.paused); }},
    {"quire_requests_waiting_by_reason", kGauge,
     "Waiting requests by what they wait for. turn: places or KV memory; tenant: limits or rate of "
     "their own tenant; prefix: another request that computes what they begin with; reader: their "
     "client, which does not read.",
     "reason", "turn", [](S s) { return double(s.engine.waits.turn); }},
    {"quire_requests_waiting_by_reason", kGauge, "", "reason", "tenant",
     [](S s) { return double(s.engine.waits.tenant); }},
    {"quire_requests_waiting_by_reason", kGauge, "", "reason", "prefix",
     [](S s) { return double(s.engine.waits.prefix); }},
    {"quire_requests_waiting_by_reason", kGauge, "", "reason", "reader",
     [](S s) { return double(s.engine.waits.reader); }},
    {"quire_queued_tokens", kGauge, "Prompt tokens of waiting requests.", nullptr, nullptr,
     [](S s) { return double(s.engine.waiting_tokens); }},
    {"quire_requests_accepted_total", kCounter, "Requests that the engine has accepted.", nullptr,
     nullptr, [](S s) { return double(s.engine.accepted); }},
    {"quire_requests_finished_total", kCounter, "Accepted requests that have ended, by reason.",
     "reason", "stop", Finished<FinishReason::kStop>},
    {"quire_requests_finished_total", kCounter, "", "reason", "length",
     Finished<FinishReason::kLength>},
    {"quire_requests_finished_total", kCounter, "", "reason", "cancelled",
     Finished<FinishReason::kCancelled>},
    {"quire_requests_finished_total", kCounter, "", "reason", "deadline",
     Finished<FinishReason::kDeadline>},
    {"quire_requests_finished_total", kCounter, "", "reason", "error",
     Finished<FinishReason::kError>},
    {"quire_requests_finished_total", kCounter, "", "reason", "shutdown",
     Finished<FinishReason::kShutdown>},
    {"quire_admission_rejections_total", kCounter,
     "Requests refused before any work, by reason. What exceeds the context is invalid, what "
     "exceeds the KV cache or the tenant's part of it too_long.",
     "reason", "queue_full", [](S s) { return double(s.engine.rejected_queue_full); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "tenant_queue_full",
     [](S s) { return double(s.engine.rejected_tenant_queue_full); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "deadline",
     [](S s) { return double(s.engine.rejected_deadline); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "draining",
     [](S s) { return double(s.engine.rejected_draining); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "too_long",
     [](S s) { return double(s.engine.rejected_too_long); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "invalid",
     [](S s) { return double(s.rejected_invalid); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "unauthenticated",
     [](S s) { return double(s.rejected_unauthenticated); }},
    {"quire_admission_rejections_total", kCounter, "", "reason", "streams",
     [](S s) { return double(s.rejected_streams); }},
    {"quire_streams_open", kGauge, "Generate calls whose status is not out yet.", nullptr, nullptr,
     [](S s) { return double(s.open_streams); }},
    {"quire_slow_readers_total", kCounter,
     "Calls ended because their client read too slowly. buffer: more waited than "
     "--max-stream-buffer; stalled: a message was on its way for --write-stall-timeout.",
     "reason", "buffer", [](S s) { return double(s.slow_readers); }},
    {"quire_slow_readers_total", kCounter, "", "reason", "stalled",
     [](S s) { return double(s.stalled_readers); }},
    {"quire_refused_connections_total", kCounter,
     "Connections closed at once because there were --max-connections.", nullptr, nullptr,
     [](S s) { return double(s.refused_connections); }},
    {"quire_accept_failures_total", kCounter,
     "Times that there was no file descriptor or memory for a connection that waits.", nullptr,
     nullptr, [](S s) { return double(s.accept_failures); }},

    {"quire_prompt_tokens_total", kCounter, "Prompt tokens computed.", nullptr, nullptr,
     [](S s) { return double(s.engine.prompt_tokens); }},
    {"quire_generated_tokens_total", kCounter, "Tokens generated and delivered.", nullptr, nullptr,
     [](S s) { return double(s.engine.generated_tokens); }},
    {"quire_discarded_tokens_total", kCounter, "Tokens sampled after their request had ended.",
     nullptr, nullptr, [](S s) { return double(s.engine.discarded_tokens); }},
    {"quire_prefix_cache_queried_tokens_total", kCounter,
     "Prompt tokens that were looked up in the prefix cache.", nullptr, nullptr,
     [](S s) { return double(s.engine.kv.prefix_queried_tokens); }},
    {"quire_prefix_cache_hit_tokens_total", kCounter,
     "Of those, tokens whose keys and values were found and not computed.", nullptr, nullptr,
     [](S s) { return double(s.engine.kv.prefix_hit_tokens); }},
    {"quire_preemptions_total", kCounter,
     "Times a running request had to give up its place and its KV memory, to start again later. "
     "recompute: what it had is computed again; swap: it is kept in host memory.",
     "mode", "recompute",
     [](S s) {
       return Sum(s.tenants, [](const TenantLoad& t) { return t.preempted - t.swapped_out; });
     }},
    {"quire_preemptions_total", kCounter, "", "mode", "swap",
     [](S s) { return Sum(s.tenants, [](const TenantLoad& t) { return t.swapped_out; }); }},
    {"quire_recomputed_tokens_total", kCounter,
     "Tokens computed again after preemptions, among quire_prompt_tokens_total.", nullptr, nullptr,
     [](S s) { return Sum(s.tenants, [](const TenantLoad& t) { return t.recomputed_tokens; }); }},
    {"quire_kv_host_bytes", kGauge,
     "Host memory for the KV of preempted requests, 0 where none is swapped out. Always full: "
     "raise --swap-memory, or what is preempted is computed again.",
     "state", "used", [](S s) { return double(s.engine.kv.host_used_bytes); }},
    {"quire_kv_host_bytes", kGauge, "", "state", "free",
     [](S s) { return double(s.engine.kv.host_bytes - s.engine.kv.host_used_bytes); }},
    {"quire_kv_swapped_bytes_total", kCounter,
     "Bytes of KV copied to host memory and back. Much of it: too many requests share too little "
     "KV memory.",
     "direction", "out", [](S s) { return double(s.engine.kv.swapped_out_bytes); }},
    {"quire_kv_swapped_bytes_total", kCounter, "", "direction", "in",
     [](S s) { return double(s.engine.kv.swapped_in_bytes); }},
    {"quire_steps_total", kCounter,
     "Engine steps by content: prompt chunks, one token for each running request, or both.", "kind",
     "prefill", [](S s) { return double(s.engine.Steps(StepKind::kPrefill)); }},
    {"quire_steps_total", kCounter, "", "kind", "decode",
     [](S s) { return double(s.engine.Steps(StepKind::kDecode)); }},
    {"quire_steps_total", kCounter, "", "kind", "mixed",
     [](S s) { return double(s.engine.Steps(StepKind::kMixed)); }},
    {"quire_engine_busy_seconds_total", kCounter,
     "Time of the engine thread in steps: forward is inside the model, schedule everything else.",
     "stage", "schedule", [](S s) { return s.engine.schedule_seconds; }},
    {"quire_engine_busy_seconds_total", kCounter, "", "stage", "forward",
     [](S s) { return s.engine.forward_seconds; }},
    {"quire_engine_last_step_timestamp_seconds", kGauge,
     "When the last step completed, in Unix time; 0 before the first.", nullptr, nullptr,
     [](S s) { return s.last_step_unix_seconds; }},
    {"quire_engine_stalled_seconds", kGauge,
     "How long there has been work and no step has completed. Not of time in which the whole "
     "process stood still.",
     nullptr, nullptr, [](S s) { return s.engine_stalled_seconds; }},
    {"quire_live", kGauge, "1 while the health of liveness is SERVING, else 0.", nullptr, nullptr,
     [](S s) { return double(s.live); }},
    {"quire_self_probes_total", kCounter,
     "Connections of the server to itself. Some that failed: clients may not get through either.",
     "result", "answered", [](S s) { return double(s.self_probes_answered); }},
    {"quire_self_probes_total", kCounter, "", "result", "failed",
     [](S s) { return double(s.self_probes_failed); }},
    {"quire_log_messages_total", kCounter,
     "Lines of the log, those too that were left out because nobody read them or there were too "
     "many.",
     "level", "info", [](S s) { return Logged(s, LogLevel::kInfo); }},
    {"quire_log_messages_total", kCounter, "", "level", "warning",
     [](S s) { return Logged(s, LogLevel::kWarning); }},
    {"quire_log_messages_total", kCounter, "", "level", "error",
     [](S s) { return Logged(s, LogLevel::kError); }},
};

using K = const KvClassSnapshot&;

const KvMetricSeries kKvTable[] = {
    {"quire_kv_blocks", kGauge,
     "KV blocks by state. The states exclude each other and add up to quire_kv_capacity_blocks. "
     "fenced: released, but a step on the device may still touch it. cached: named by no request, "
     "but found by their tokens, and given up when others need the room.",
     "free", [](K k) { return double(k.free_blocks); }},
    {"quire_kv_blocks", kGauge, "", "active", [](K k) { return double(k.active_blocks); }},
    {"quire_kv_blocks", kGauge, "", "fenced", [](K k) { return double(k.fenced_blocks); }},
    {"quire_kv_blocks", kGauge, "", "cached", [](K k) { return double(k.cached_blocks); }},
    {"quire_kv_capacity_blocks", kGauge,
     "KV blocks that there are. Cache classes share their memory: what no class has claimed counts "
     "for each.",
     nullptr, [](K k) { return double(k.total_blocks); }},
    {"quire_kv_block_bytes", kGauge,
     "Bytes of one KV block: keys and values of all layers of its cache class.", nullptr,
     [](K k) { return double(k.block_bytes); }},
    {"quire_kv_logical_blocks", kGauge,
     "Entries of all block tables: beyond the active KV blocks, what requests share.", nullptr,
     [](K k) { return double(k.table_entries); }},
    {"quire_kv_promised_blocks", kGauge, "KV blocks that running requests may still grow by.",
     nullptr, [](K k) { return double(k.promised_blocks); }},
    {"quire_kv_token_slots", kGauge,
     "Token slots of active KV blocks: filled, or wasted at the end of a request's last block.",
     "filled", [](K k) { return double(k.filled_slots); }},
    {"quire_kv_token_slots", kGauge, "", "wasted",
     [](K k) { return double(k.active_blocks * k.block_tokens - k.filled_slots); }},
    {"quire_kv_allocated_blocks_total", kCounter, "KV blocks taken from the free list.", nullptr,
     [](K k) { return double(k.allocated_total); }},
    {"quire_kv_freed_blocks_total", kCounter, "KV blocks put back on the free list.", nullptr,
     [](K k) { return double(k.freed_total); }},
    {"quire_prefix_cache_evicted_blocks_total", kCounter,
     "Cached KV blocks that were given up for others.", nullptr,
     [](K k) { return double(k.evicted_total); }},
};

}  // namespace

std::span<const KvMetricSeries> KvMetricTable() { return kKvTable; }

std::span<const MetricSeries> MetricTable() { return kTable; }

}  // namespace quire::server
