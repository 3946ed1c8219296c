"""Queue, steps and the engine, for whoever wonders where the time goes."""

from dashboards.panels import build, heatmap, row, series, stat
from dashboards.queries import buckets, mean, quantile, quantiles, rate, share, total

STEP = "quire_step_duration_seconds{}"
BUSY = "quire_engine_busy_seconds_total"
EARLY = 'quire_requests_finished_total{reason=~"cancelled|deadline|error|shutdown"}'


def _now():
    return row("Now", [
        stat("Running",
             "Requests that take part in steps.",
             total("quire_requests_running{}")),
        stat("Waiting",
             "Requests accepted and not running. Growing: see QuireQueueGrowing.",
             total("quire_requests_waiting{}")),
        stat("Paused",
             "Of both, those whose client does not read. They hold a place for --pause-grace.",
             total("quire_requests_paused{}")),
        stat("Engine busy, busiest",
             "Share of the time in which it computes a step. Near 1 with requests waiting: the machine is "
             "full.",
             f"max({rate(BUSY + '{}', 'instance')})", "percentunit", thresholds=((0.95, "orange"),)),
        stat("Stalled",
             "How long there has been work and no step has completed. A minute pages: QuireEngineStalled.",
             "max(quire_engine_stalled_seconds{})", "s", thresholds=((10, "orange"), (60, "red"))),
        stat("Last step",
             "How long ago the last one completed, of the server that is longest without. Long is well "
             "while there is nothing to do.",
             "time() - min(quire_engine_last_step_timestamp_seconds{})", "s", decimals=1),
    ])


def _queue():
    return row("Queue", [
        series("Requests",
               "running takes part in steps, waiting does not, paused (of both) waits for its client.",
               {"running": total("quire_requests_running{}"), "waiting": total("quire_requests_waiting{}"),
                "paused": total("quire_requests_paused{}")}),
        series("Waiting, by reason",
               "turn: places or KV memory, so more of either helps; tenant: its tenant's own limits; "
               "prefix: another request computes its beginning; reader: its client does not read.",
               {"{{reason}}": total("quire_requests_waiting_by_reason{}", "reason")}, stacked=True),
        series("Queued prompt tokens",
               "Prompt tokens of waiting requests. At --max-queued-tokens more is refused.",
               {"{{instance}}": total("quire_queued_tokens{}", "instance")}),
        series("Time in the queue",
               "From arrival to the first step. The line is half of what the objective gives the whole "
               "first token.",
               quantiles("quire_request_queue_seconds{}"), "s", thresholds=((0.5, "orange"),)),
        heatmap("Time in the queue, all",
                "How the same is spread. A second band far above: one tenant waits, or long prompts do.",
                buckets("quire_request_queue_seconds{}")),
        series("In and out",
               "Requests accepted, ended and refused, a second. accepted above ended for long: the queue "
               "grows.",
               {"accepted": rate("quire_requests_accepted_total{}"),
                "ended": rate("quire_requests_finished_total{}"),
                "refused": rate("quire_admission_rejections_total{}")},
               "reqps"),
    ])


def _steps():
    return row("Steps", [
        series("Steps",
               "By content: prompt chunks, one token for each running request, or both.",
               {"{{kind}}": rate("quire_steps_total{}", "kind")}, "ops", stacked=True),
        series("Step duration, p50",
               "From launch to completion. decode grows with the sequences in a step and their length.",
               {"{{kind}}": quantile(0.5, STEP, "kind")}, "s"),
        series("Step duration, p99",
               "mixed far above decode: prompts hold answers up; --max-prefill-beside-decode bounds them.",
               {"{{kind}}": quantile(0.99, STEP, "kind")}, "s"),
        heatmap("Step duration, all",
                "How the same is spread over all kinds.",
                buckets(STEP)),
        series("Tokens in a step",
               "Prompt and answer tokens together. Always near --max-step-tokens: prompts fill the steps.",
               quantiles("quire_step_tokens{}")),
        series("Sequences in a step",
               "Requests that a step computes something for. At --max-running others wait; few while many "
               "wait: KV memory lacks.",
               quantiles("quire_step_sequences{}")),
    ])


def _engine():
    return row("Engine", [
        series("Engine busy",
               "Share of the time, by what it does: forward is the model, schedule everything else. Much "
               "schedule: many short requests, or output threads that lag.",
               {"{{stage}} {{instance}}": rate(BUSY + "{}", "stage, instance")}, "percentunit"),
        series("Outside the model",
               "The engine thread's time in a step outside the model: choosing, promising KV, delivering.",
               quantiles("quire_scheduler_duration_seconds{}"), "s"),
        series("Share outside the model",
               "Of the engine's busy time. Above a tenth: steps are too small for this machine.",
               {"schedule": share(BUSY + '{stage="schedule"}', BUSY + "{}")}, "percentunit",
               thresholds=((0.1, "orange"),)),
        series("Tokens a busy second",
               "Prompt and answer tokens for each second in which the engine computed: what the machine "
               "gives at this mix.",
               {"tokens": f"({rate('quire_prompt_tokens_total{}')} + "
                          f"{rate('quire_generated_tokens_total{}')}) / ({rate(BUSY + '{}')} > 0)"}),
        series("Prefill of a request",
               "From a request's first step to its first token. Many steps long: --max-step-tokens or "
               "--max-prefill-beside-decode is small for its prompt.",
               quantiles("quire_request_prefill_seconds{}"), "s"),
        series("Live",
               "1 while the health of liveness is SERVING. See QuireNotLive.",
               {"{{instance}}": "min by (instance) (quire_live{})"}, most=1),
    ])


def _wasted():
    return row("Work for nothing", [
        series("Preemptions",
               "recompute: what the request had is computed again; swap: it is copied. See "
               "QuirePreemptionStorm.",
               {"{{mode}}": rate("quire_preemptions_total{}", "mode")}, "ops", stacked=True),
        series("Tokens for nothing",
               "again: computed once more after a preemption; discarded: sampled after their request had "
               "ended.",
               {"again": rate("quire_recomputed_tokens_total{}"),
                "discarded": rate("quire_discarded_tokens_total{}")}),
        series("Requests that ended early",
               "Share of those that ended. cancelled: clients went away; deadline: they waited too long.",
               {"{{reason}}": rate(EARLY, "reason") + " / on () group_left () "
                              f"({rate('quire_requests_finished_total{}')} > 0)"},
               "percentunit"),
        series("Preemptions of a request",
               "Mean over requests that ended. Each costs its prompt once more, or two copies.",
               {"mean": mean("quire_request_preemptions{}")}),
        series("Writing a message",
               "From a message's write to its completion. Long: clients read slowly, and what is computed "
               "waits.",
               quantiles("quire_stream_write_seconds{}"), "s"),
        series("Slow readers",
               "Paused now, and answers cut off a second. See QuireSlowReaders.",
               {"paused": total("quire_requests_paused{}"),
                "cut off, {{reason}}": rate("quire_slow_readers_total{}", "reason")}),
    ])


def dashboard():
    return build("quire-scheduler", "Quire: scheduler",
                 "The queue, what steps compute and how long they take, and what was computed for nothing.",
                 [_now(), _queue(), _steps(), _engine(), _wasted()])
