"""How the service does: for whoever was told of something, and for a first look."""

from dashboards import slo
from dashboards.overview_details import calls_row, process_row
from dashboards.panels import build, heatmap, row, series, stat
from dashboards.queries import buckets, committed, mean, quantile, quantiles, rate, share, total

ANSWERS = f"grpc_server_started_total{{{slo.METHODS}}}"
FIRST = "quire_time_to_first_token_seconds"
NEXT = "quire_inter_token_latency_seconds"


def _failed_share(window):
    """Calls that failed by our fault, of those that went well or failed so."""
    full = f'rate(quire_admission_rejections_total{{reason=~"{slo.FULL_REASONS}"}}{window})'

    def calls(codes):
        ended = f'grpc_server_handled_total{{{slo.METHODS}, grpc_code=~"{codes}"}}'
        return f"sum(rate({ended}{window}) or {full})"
    return f'{calls(slo.FAILED_CODES)} / ({calls("OK|" + slo.FAILED_CODES)} > 0)'


def _kept_share(metric, edge):
    within, count = f"{metric}_bucket{{{edge}}}", f"{metric}_count{{}}"
    return f"sum(increase({within}[$__range])) / (sum(increase({count}[$__range])) > 0)"


def _now():
    return row("Now", [
        stat("Servers up",
             "Servers that Prometheus reaches. Red: one is down, see QuireTargetDown in the runbook.",
             "sum(up{}) / count(up{})", "percentunit", good_above=1),
        stat("Live",
             "1: all servers say that they get anywhere. 0: one is about to end itself, see QuireNotLive.",
             "min(quire_live{})", good_above=1),
        stat("Calls",
             "Calls for answers that begin, of all protocols.",
             rate(ANSWERS), "reqps"),
        stat("Failed calls",
             "Share of calls that failed by the server's fault. The objective allows 0.1 %; red is what "
             "pages. See QuireAvailabilityBurnFast.",
             _failed_share("[$__rate_interval]"), "percentunit",
             thresholds=((slo.CALLS_BUDGET, "orange"), (slo.FAST_BURN * slo.CALLS_BUDGET, "red"))),
        stat("First token, p95",
             "What 95 % of the users wait at most before they see anything. Red is beyond the objective: "
             "look at queue and prefill below.",
             quantile(0.95, FIRST + "{}"), "s", thresholds=((0.5, "orange"), (1, "red"))),
        stat("Next token, p95",
             "Between two tokens of an answer. Red is beyond the objective: look at the steps in the "
             "scheduler's dashboard.",
             quantile(0.95, NEXT + "{}"), "s", thresholds=((0.05, "orange"), (0.1, "red"))),
        stat("Running",
             "Requests that take part in steps.",
             total("quire_requests_running{}")),
        stat("Waiting",
             "Requests accepted and not running. Some are normal under load; growing is not, see "
             "QuireQueueGrowing.",
             total("quire_requests_waiting{}")),
        stat("Tokens",
             "Tokens generated and delivered, a second.",
             rate("quire_generated_tokens_total{}")),
        stat("KV memory, fullest server",
             "Held or promised. Full is well while nobody waits for it; see QuireKvPressure.",
             committed(), "percentunit", thresholds=((0.95, "orange"),)),
        stat("Prefix cache hits",
             "Prompt tokens that were found and not computed. A fall makes first tokens late, see "
             "QuirePrefixHitRateDrop.",
             share("quire_prefix_cache_hit_tokens_total{}", "quire_prefix_cache_queried_tokens_total{}"),
             "percentunit"),
        stat("Preemptions",
             "Running requests that gave up their place, a second. Many: work is done twice, see "
             "QuirePreemptionStorm.",
             rate("quire_preemptions_total{}"), "ops", thresholds=((0.001, "orange"), (1, "red"))),
    ])


def _burn(title, text, record, budget):
    windows = {"5 minutes": "5m", "1 hour": "1h", "6 hours": "6h"}
    return series(title,
                  f"{text} 1 uses the budget of 30 days up in 30 days. Above {slo.SLOW_BURN} for hours or "
                  f"{slo.FAST_BURN} for an hour somebody is paged.",
                  {name: f"max({record}:ratio_rate{window}{{}}) / {budget}"
                   for name, window in windows.items()},
                  thresholds=((slo.SLOW_BURN, "orange"), (slo.FAST_BURN, "red")))


def _objectives():
    return row("Objectives", [
        stat("Calls that did not fail",
             "Over the time shown, of those that went well or failed by the server's fault. The objective "
             "is 99.9 %.",
             f"1 - {_failed_share('[$__range]')}", "percentunit", 8, good_above=1 - slo.CALLS_BUDGET,
             decimals=3),
        stat("First tokens within 1 s",
             "Over the time shown, of requests that got one. The objective is 99 %.",
             _kept_share(FIRST, slo.FIRST_TOKEN_EDGE), "percentunit", 8,
             good_above=1 - slo.FIRST_TOKEN_BUDGET, decimals=3),
        stat("Next tokens within 100 ms",
             "Over the time shown, of all tokens but first ones. The objective is 99 %.",
             _kept_share(NEXT, slo.NEXT_TOKEN_EDGE), "percentunit", 8, good_above=1 - slo.NEXT_TOKEN_BUDGET,
             decimals=3),
        _burn("Burn rate of calls",
              "How fast the budget of failed calls is used up.",
              "job:quire_calls_failed", slo.CALLS_BUDGET),
        _burn("Burn rate of first tokens",
              "How fast the budget of late first tokens is used up.",
              "job_model:quire_first_token_slow", slo.FIRST_TOKEN_BUDGET),
        series("Burn rate of next tokens",
               "How fast the budget of late tokens is used up. 1 uses the budget of 30 days up in 30 days; "
               "above 1 for days there is a ticket.",
               {"6 hours": f"max(job_model:quire_next_token_slow:ratio_rate6h{{}}) / {slo.NEXT_TOKEN_BUDGET}",
                "3 days": f"max(job_model:quire_next_token_slow:ratio_rate3d{{}}) / {slo.NEXT_TOKEN_BUDGET}"},
               thresholds=((1, "orange"),)),
    ])


def _traffic():
    return row("Traffic and errors", [
        series("Calls by method",
               "Calls for answers that begin.",
               {"{{grpc_service}}/{{grpc_method}}": rate(ANSWERS, "grpc_service, grpc_method")}, "reqps"),
        series("Calls by status",
               "Calls for answers that end. Unavailable: a drain or a broken device; ResourceExhausted: "
               "full, see the reasons beside; Canceled: the client.",
               {"{{grpc_code}}": rate(f"grpc_server_handled_total{{{slo.METHODS}}}", "grpc_code")}, "reqps",
               stacked=True),
        series("Failed calls",
               "Share that failed by the server's fault: the status or a refusal because the server is "
               "full. The line is what the objective allows.",
               {"failed": _failed_share("[$__rate_interval]")}, "percentunit",
               thresholds=((slo.CALLS_BUDGET, "red"),)),
        series("Ended requests",
               "Accepted requests by how they ended. error: could not be computed, see QuireAnswersFail; "
               "many by deadline: too much is asked.",
               {"{{reason}}": rate("quire_requests_finished_total{}", "reason")}, "reqps", stacked=True),
        series("Refused requests",
               "Refused before any work. queue_full, streams, deadline: the server is full, see "
               "QuireRejectionsHigh; the others are the client's or its tenant's.",
               {"{{reason}}": rate("quire_admission_rejections_total{}", "reason")}, "reqps", stacked=True),
        series("Answers cut off",
               "Calls ended because their client read too slowly. See QuireSlowReaders.",
               {"{{reason}}": rate("quire_slow_readers_total{}", "reason")}, "reqps", stacked=True),
    ])


def _latency():
    return row("Latency", [
        series("First token",
               "From a request's arrival to its first token: queue and prefill. The line is the objective.",
               quantiles(FIRST + "{}"), "s", thresholds=((1, "red"),)),
        heatmap("First token, all",
                "How the same is spread. Two bands: prompts of two lengths, or prefixes that were found and "
                "such that were not.",
                buckets(FIRST + "{}")),
        series("Queue",
               "From a request's arrival to its first step. Most of the first token's time: places or KV "
               "memory lack, see QuireQueueGrowing.",
               quantiles("quire_request_queue_seconds{}"), "s"),
        series("Prefill",
               "From a request's first step to its first token. Long: long prompts, few prefixes found, or "
               "many prompts at once.",
               quantiles("quire_request_prefill_seconds{}"), "s"),
        series("Time between tokens",
               "Between two tokens of an answer. p99 far above p50: prompts are computed in between; "
               "--max-prefill-beside-decode bounds them. The line is the objective.",
               quantiles(NEXT + "{}"), "s", thresholds=((0.1, "red"),)),
        series("Time per output token",
               "The same as each request's mean, of those that ended: what a user calls fast or slow.",
               quantiles("quire_request_time_per_output_token_seconds{}"), "s"),
        series("Decode",
               "From a request's first token to its last. Grows with the answers' length.",
               quantiles("quire_request_decode_seconds{}"), "s"),
        series("Whole request",
               "From a request's arrival to its end, whatever that was. Compare with clients' deadlines.",
               quantiles("quire_request_duration_seconds{}"), "s"),
    ])


def _throughput():
    return row("Throughput", [
        series("Tokens",
               "Prompt tokens computed and found, tokens generated and thrown away. Much discarded: clients "
               "cancel, or requests are preempted.",
               {"prompt, computed": rate("quire_prompt_tokens_total{}"),
                "prompt, found": rate("quire_prefix_cache_hit_tokens_total{}"),
                "generated": rate("quire_generated_tokens_total{}"),
                "discarded": rate("quire_discarded_tokens_total{}")}),
        series("Prompt length",
               "Tokens of the prompts of requests that ended. What clients send decides what everything "
               "else costs.",
               quantiles("quire_request_prompt_tokens{}")),
        series("Answer length",
               "Tokens of the answers of requests that ended. Near --max-tokens-limit: answers are cut.",
               quantiles("quire_request_generated_tokens{}")),
    ])


def _saturation():
    return row("Saturation", [
        series("Requests",
               "running takes part in steps, waiting does not, paused (of both) waits for its client to "
               "read. Waiting for long: see QuireQueueGrowing.",
               {"running": total("quire_requests_running{}"), "waiting": total("quire_requests_waiting{}"),
                "paused": total("quire_requests_paused{}")}),
        series("KV memory held and promised",
               "By server, of its fullest cache class. At 1 nothing can start that needs more; see "
               "QuireKvPressure where something waits.",
               {"{{instance}}": committed("instance")}, "percentunit", most=1,
               thresholds=((0.95, "orange"),)),
        series("Engine busy",
               "Share of the time in which the engine computes a step. Near 1 and waiting requests: the "
               "machine is full, another server helps.",
               {"{{instance}}": rate("quire_engine_busy_seconds_total{}", "instance")}, "percentunit"),
        series("Sequences in a step",
               "Requests that one step computes something for, on average. More is more tokens a second; at "
               "--max-running others wait.",
               {"mean": mean("quire_step_sequences{}")}),
        series("Waiting, by reason",
               "turn: places or KV memory; tenant: its tenant's own limits; prefix: another request "
               "computes its beginning; reader: its client does not read.",
               {"{{reason}}": total("quire_requests_waiting_by_reason{}", "reason")}, stacked=True),
        series("Queued prompt tokens",
               "Prompt tokens of waiting requests: the work that is already accepted. At "
               "--max-queued-tokens more is refused.",
               {"queued": total("quire_queued_tokens{}")}),
    ])


def dashboard():
    return build("quire-overview", "Quire: overview",
                 "Objectives, traffic, errors, latency, throughput and saturation. What to do about an "
                 "alert: deploy/RUNBOOK.md.",
                 [_now(), _objectives(), _traffic(), _latency(), _throughput(), _saturation(), calls_row(),
                  process_row()])
