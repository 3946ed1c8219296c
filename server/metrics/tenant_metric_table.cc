#include "server/metrics/metric_table.h"

namespace quire::server {
namespace {

constexpr auto kGauge = prometheus::MetricType::Gauge;
constexpr auto kCounter = prometheus::MetricType::Counter;

using T = const TenantStats&;

template <FinishReason kReason>
double Finished(T t) {
  return static_cast<double>(t.finished[static_cast<size_t>(kReason)]);
}

// Names are those of the families without tenants where both count the same.
const TenantMetricSeries kTable[] = {
    {"quire_tenant_requests_running", kGauge,
     "Requests of the tenant that take part in steps. At its max_running, the tenant waits for "
     "itself.",
     nullptr, [](T t) { return double(t.load.running); }},
    {"quire_tenant_requests_waiting", kGauge,
     "Requests accepted and not running, preempted ones too. Waiting for long while others run: "
     "compare quire_tenant_fair_received_tokens_total with quire_tenant_fair_due_tokens_total.",
     nullptr, [](T t) { return double(t.load.waiting); }},
    {"quire_tenant_queued_tokens", kGauge, "Prompt tokens of waiting requests.", nullptr,
     [](T t) { return double(t.load.waiting_tokens); }},
    {"quire_tenant_requests_accepted_total", kCounter, "Requests that the engine has accepted.",
     nullptr, [](T t) { return double(t.accepted); }},
    {"quire_tenant_requests_finished_total", kCounter,
     "Accepted requests that have ended, by reason. Many of reason deadline: the tenant asks for "
     "more than it gets, or its deadlines are too short.",
     "stop", Finished<FinishReason::kStop>},
    {"quire_tenant_requests_finished_total", kCounter, "", "length",
     Finished<FinishReason::kLength>},
    {"quire_tenant_requests_finished_total", kCounter, "", "cancelled",
     Finished<FinishReason::kCancelled>},
    {"quire_tenant_requests_finished_total", kCounter, "", "deadline",
     Finished<FinishReason::kDeadline>},
    {"quire_tenant_requests_finished_total", kCounter, "", "error", Finished<FinishReason::kError>},
    {"quire_tenant_requests_finished_total", kCounter, "", "shutdown",
     Finished<FinishReason::kShutdown>},
    {"quire_tenant_admission_rejections_total", kCounter,
     "Requests that the engine refused, for any reason; what the front end refuses (invalid, "
     "unauthenticated, streams) is nobody's. Growing: the tenant sends more than it gets computed.",
     nullptr, [](T t) { return double(t.rejected); }},
    {"quire_tenant_requests_started_total", kCounter,
     "Requests that have begun to run. They divide quire_tenant_queue_seconds_total to the mean "
     "wait.",
     nullptr, [](T t) { return double(t.started); }},
    {"quire_tenant_queue_seconds_total", kCounter,
     "From arrival to the first step, of requests that have begun to run.", nullptr,
     [](T t) { return t.queue_seconds; }},
    {"quire_tenant_started_prompt_tokens_total", kCounter,
     "Tokens of the prompts that have begun to run, computed or found.", nullptr,
     [](T t) { return double(t.prompt_tokens); }},
    {"quire_tenant_cached_tokens_total", kCounter,
     "Of those, tokens whose keys and values were found and not computed. Few, though its prompts "
     "begin alike: give the tenant a larger prefix_cache_floor.",
     nullptr, [](T t) { return double(t.cached_tokens); }},
    {"quire_tenant_generated_tokens_total", kCounter, "Tokens generated and delivered.", nullptr,
     [](T t) { return double(t.generated_tokens); }},

    {"quire_tenant_kv_bytes", kGauge,
     "KV memory promised to what runs; what is shared counts in full. At kv_limit, the tenant "
     "waits for itself; above kv_reserved, it uses what others leave.",
     nullptr, [](T t) { return double(t.load.kv_bytes); }},
    {"quire_tenant_kv_byte_seconds_total", kCounter,
     "KV memory promised, times how long: its rate is the memory that the tenant held on average.",
     nullptr, [](T t) { return t.load.kv_byte_seconds; }},
    {"quire_tenant_prefix_cache_bytes", kGauge,
     "KV memory kept for prompts to come that no request uses now. Below prefix_cache_floor others "
     "cannot push it out.",
     nullptr, [](T t) { return double(t.load.prefix_bytes); }},
    {"quire_tenant_prefix_cache_lost_blocks_total", kCounter,
     "Cached blocks of the tenant that were given up for other tenants. Growing while its hits "
     "fall: raise its prefix_cache_floor, or lower the others' prefix_cache_ceiling.",
     nullptr, [](T t) { return double(t.load.prefix_blocks_lost); }},
    {"quire_tenant_prefix_cache_taken_blocks_total", kCounter,
     "Cached blocks of other tenants that were given up for this one: who pushes others out.",
     nullptr, [](T t) { return double(t.load.prefix_blocks_taken); }},

    {"quire_tenant_cost_tokens_total", kCounter,
     "Computed for the tenant: a prompt token costs 1, a generated one 2, found and recomputed "
     "ones nothing. Its share of the sum over tenants is its share of the machine.",
     nullptr, [](T t) { return t.load.cost; }},
    {"quire_tenant_fair_received_tokens_total", kCounter,
     "Of that, what was computed while the tenant had work that waited for nothing but its turn.",
     nullptr, [](T t) { return t.load.cost_of_due; }},
    {"quire_tenant_fair_due_tokens_total", kCounter,
     "The tenant's share, by weight, of all that was computed in that time: about what it "
     "received. Much more for minutes: others hold the places or the KV memory that it waits for; "
     "a kv_reserved would give it some.",
     nullptr, [](T t) { return t.load.due; }},
    {"quire_tenant_loans_total", kCounter,
     "Sequences started on KV memory that the reserves of others may want back. Growing together "
     "with preemptions: a larger kv_reserved would save the tenant work done twice.",
     nullptr, [](T t) { return double(t.load.loans); }},
    {"quire_tenant_preemptions_total", kCounter,
     "Times a request of the tenant had to give its KV memory up, to start again later.", nullptr,
     [](T t) { return double(t.load.preempted); }},
    {"quire_tenant_swaps_total", kCounter,
     "Of those preemptions, how many moved the KV memory to the host instead of giving it up.",
     nullptr, [](T t) { return double(t.load.swapped_out); }},
    {"quire_tenant_recomputed_tokens_total", kCounter,
     "Tokens computed again after preemptions. Much beside the cost: too many requests share too "
     "little KV memory.",
     nullptr, [](T t) { return double(t.load.recomputed_tokens); }},
};

}  // namespace

std::span<const TenantMetricSeries> TenantMetricTable() { return kTable; }

}  // namespace quire::server
