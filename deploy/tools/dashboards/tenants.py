"""What each tenant gets. Lines are of the largest tenants at each moment."""

from dashboards.panels import build, row, series, table, tenant_variables
from dashboards.queries import INTERVAL, quantile, rate, share, total

LEGEND = "{{tenant}}"
FIRST = "quire_tenant_time_to_first_token_seconds"
# An objective's edge that this histogram has as well.
WITHIN = f'sum by (tenant) (rate({FIRST}_bucket{{le=~"1|1[.]0"}}{INTERVAL}))'
COST = rate("quire_tenant_cost_tokens_total{}", "tenant")
# Of all tenants, whichever are chosen.
ALL_COST = f'sum(rate(quire_tenant_cost_tokens_total{{tenant=~".+"}}{INTERVAL}))'


def _top(query):
    return {LEGEND: f"topk($top, {query})"}


def _bottom(query):
    return {LEGEND: f"bottomk($top, {query})"}


def _now():
    return row("Now", [
        table("Tenants",
              "Each tenant at a glance; the metrics' own panels are below. Those beyond the first 100 are "
              "other.",
              {"running": total("quire_tenant_requests_running{}", "tenant"),
               "waiting": total("quire_tenant_requests_waiting{}", "tenant"),
               "tokens/s": rate("quire_tenant_generated_tokens_total{}", "tenant"),
               "KV memory": total("quire_tenant_kv_bytes{}", "tenant"),
               "cached": total("quire_tenant_prefix_cache_bytes{}", "tenant"),
               "refused/s": rate("quire_tenant_admission_rejections_total{}", "tenant"),
               "first token, p95": quantile(0.95, FIRST + "{}", "tenant")},
              {"tokens/s": "short", "KV memory": "bytes", "cached": "bytes", "refused/s": "reqps",
               "first token, p95": "s"},
              height=10),
    ])


def _shares():
    return row("Shares", [
        series("Share of the computing",
               "Of what all tenants got, a prompt token counted once and a generated one twice. By weight "
               "where all want some.",
               _top(f"{COST} / on () group_left () ({ALL_COST} > 0)"),
               "percentunit"),
        series("Due and received",
               "What was computed for a tenant while it waited for nothing but its turn, as a share of what "
               "was due by its weight; the lowest. Below 0.5 for long: see QuireTenantBelowShare.",
               _bottom(share("quire_tenant_fair_received_tokens_total{}",
                             "quire_tenant_fair_due_tokens_total{}", "tenant")), "percentunit"),
        series("Generated tokens",
               "Delivered, a second.",
               _top(rate("quire_tenant_generated_tokens_total{}", "tenant"))),
        series("Prompt tokens",
               "Of prompts that began to run, computed or found, a second.",
               _top(rate("quire_tenant_started_prompt_tokens_total{}", "tenant"))),
    ])


def _requests():
    return row("Requests", [
        series("Running",
               "At its max_running a tenant waits for itself.",
               _top(total("quire_tenant_requests_running{}", "tenant"))),
        series("Waiting",
               "For long while others run: see QuireTenantStarved. At its max_queued it is refused.",
               _top(total("quire_tenant_requests_waiting{}", "tenant"))),
        series("Queued prompt tokens",
               "Of waiting requests. At max_queued_tokens the tenant is refused.",
               _top(total("quire_tenant_queued_tokens{}", "tenant"))),
        series("Accepted",
               "A second.",
               _top(rate("quire_tenant_requests_accepted_total{}", "tenant")), "reqps"),
        series("Ended, by reason",
               "Of the tenants chosen. Many by deadline: they ask for more than they get, or their "
               "deadlines are short.",
               {"{{reason}}": rate("quire_tenant_requests_finished_total{}", "reason")}, "reqps",
               stacked=True),
        series("Refused",
               "By the engine, for any reason. Growing: the tenant sends more than it gets computed; its "
               "limits or its clients.",
               _top(rate("quire_tenant_admission_rejections_total{}", "tenant")), "reqps"),
    ])


def _latency():
    return row("Latency", [
        series("First token, p95",
               "From a request's arrival to its first token. One tenant far above the others: its limits, "
               "its prompts, or a kv_reserved that it lacks.",
               _top(quantile(0.95, FIRST + "{}", "tenant")), "s", thresholds=((1, "red"),)),
        series("First tokens within 1 s",
               "Share of them; the lowest. The objective is 99 %.",
               _bottom(f"{WITHIN} / ({rate(FIRST + '_count{}', 'tenant')} > 0)"), "percentunit", most=1),
        series("Time in the queue",
               "Mean, of requests that began to run. Long while its share is received: it asks for more "
               "than its share.",
               _top(share("quire_tenant_queue_seconds_total{}",
                          "quire_tenant_requests_started_total{}", "tenant")), "s"),
    ])


def _memory():
    return row("KV memory", [
        series("KV memory",
               "Promised to what runs; what is shared counts in full. At kv_limit the tenant waits for "
               "itself, above kv_reserved it uses what others leave.",
               _top(total("quire_tenant_kv_bytes{}", "tenant")), "bytes"),
        series("KV memory held on average",
               "The same over the whole interval, short requests too: what a bill would say.",
               _top(rate("quire_tenant_kv_byte_seconds_total{}", "tenant")), "bytes"),
        series("Cached",
               "KV memory kept for the tenant's prompts to come. Below prefix_cache_floor others cannot "
               "push it out.",
               _top(total("quire_tenant_prefix_cache_bytes{}", "tenant")), "bytes"),
        series("Prompt tokens found",
               "Share that was found and not computed; the lowest. Few, though its prompts begin alike: a "
               "larger prefix_cache_floor.",
               _bottom(share("quire_tenant_cached_tokens_total{}",
                             "quire_tenant_started_prompt_tokens_total{}", "tenant")), "percentunit", most=1),
        series("Cached blocks lost to others",
               "A second. While its hits fall: a larger prefix_cache_floor, or lower ceilings for who "
               "takes.",
               _top(rate("quire_tenant_prefix_cache_lost_blocks_total{}", "tenant")), "ops"),
        series("Cached blocks taken from others",
               "A second: who pushes others out. A prefix_cache_ceiling bounds it.",
               _top(rate("quire_tenant_prefix_cache_taken_blocks_total{}", "tenant")), "ops"),
    ])


def _preemptions():
    return row("Preemptions", [
        series("Preemptions",
               "Times a request of the tenant gave its KV memory up, a second. A larger kv_reserved keeps "
               "it.",
               _top(rate("quire_tenant_preemptions_total{}", "tenant")), "ops"),
        series("Of those, swapped",
               "Copied to host memory instead of computed again.",
               _top(rate("quire_tenant_swaps_total{}", "tenant")), "ops"),
        series("Started on what is others'",
               "Sequences that began on KV memory that others' reserves may want back, a second. Together "
               "with preemptions: a larger kv_reserved.",
               _top(rate("quire_tenant_loans_total{}", "tenant")), "ops"),
        series("Computed again",
               "Tokens a second, after preemptions. Not charged to the tenant.",
               _top(rate("quire_tenant_recomputed_tokens_total{}", "tenant"))),
    ])


def dashboard():
    return build("quire-tenants", "Quire: tenants",
                 "What each tenant has, gets, waits for and is refused. Change it in the tenants' file; "
                 "SIGHUP has it read again.",
                 [_now(), _shares(), _requests(), _latency(), _memory(), _preemptions()], tenant_variables())
