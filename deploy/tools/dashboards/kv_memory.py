"""What the KV memory holds, for whoever sizes it or wonders who waits for it."""

from dashboards.panels import build, row, series, stat, table
from dashboards.queries import committed, quantiles, rate, share, total

WASTED = 'sum(quire_kv_token_slots{state="wasted"}) / (sum(quire_kv_token_slots{}) > 0)'
SHARED = 'sum(quire_kv_logical_blocks{}) / (sum(quire_kv_blocks{state="active"}) > 0)'
LOOKED_UP, FOUND = "quire_prefix_cache_queried_tokens_total{}", "quire_prefix_cache_hit_tokens_total{}"
SHAPE = ("sum by (instance, model, cache_class, device, dtype, layers, kv_heads, head_dim, block_size, "
         "block_bytes) (quire_kv_cache_config_info{} * on (job, instance, model, cache_class) group_left () "
         "quire_kv_capacity_blocks{})")
PREEMPTIONS = "quire_preemptions_total{}"


def _now():
    return row("Now", [
        stat("Held or promised, fullest",
             "Of the fullest cache class of the fullest server. Full is well while nobody waits for it; see "
             "QuireKvPressure.",
             committed(), "percentunit", thresholds=((0.95, "orange"),)),
        stat("Held, fullest server",
             "Active blocks as a share of the KV memory. Far below what is promised: --overcommit, or "
             "smaller --max-tokens-default, lets more run.",
             "max(quire_kv_usage_ratio{})", "percentunit"),
        stat("Sharing",
             "How many requests use an active block, on average. 1: none is shared. More: as much more fits "
             "as without the prefix cache.",
             SHARED, decimals=2),
        stat("Wasted",
             "Token slots of active blocks without a token: ends of last blocks. Much: a smaller "
             "--block-tokens.",
             WASTED, "percentunit", thresholds=((0.25, "orange"),)),
        stat("Prefix cache hits",
             "Prompt tokens that were found and not computed. A fall makes first tokens late, see "
             "QuirePrefixHitRateDrop.",
             share(FOUND, LOOKED_UP), "percentunit"),
        stat("Preemptions",
             "Running requests that gave up their KV memory, a second. See QuirePreemptionStorm.",
             rate(PREEMPTIONS), "ops", thresholds=((0.001, "orange"), (1, "red"))),
    ])


def _blocks():
    return row("Blocks", [
        series("Blocks by state",
               "active: of requests; cached: kept for prompts to come, given up when others need the room; "
               "fenced: released, and a step may still touch them. They add up to the capacity.",
               {"{{state}}": total("quire_kv_blocks{}", "state")}, stacked=True),
        series("KV memory held and promised",
               "By server. Promised is what running requests may still grow by. At 1 nothing can start that "
               "needs more; see QuireKvPressure where something waits.",
               {"held or promised {{instance}}": committed("instance"),
                "held {{instance}}": "max by (instance) (quire_kv_usage_ratio{})"},
               "percentunit", most=1, thresholds=((0.95, "orange"),)),
        series("Promised blocks",
               "What running requests may still grow by, by cache class. Much of it unused: requests ask "
               "for longer answers than they get.",
               {"{{cache_class}}": total("quire_kv_promised_blocks{}", "cache_class")}),
        series("Blocks and entries",
               "Entries of all block tables beside the blocks that they name: the distance is what prompts "
               "that begin alike share.",
               {"entries": total("quire_kv_logical_blocks{}"),
                "active blocks": 'sum(quire_kv_blocks{state="active"})'}),
        series("Token slots",
               "Of active blocks. wasted is the end of each request's last block.",
               {"{{state}}": total("quire_kv_token_slots{}", "state")}, stacked=True),
        series("Blocks taken and put back",
               "A second. Both high beside few requests: short ones; taken above put back: more is cached. "
               "Accounts that disagree page: QuireKvAccountsDisagree.",
               {"taken": rate("quire_kv_allocated_blocks_total{}"),
                "put back": rate("quire_kv_freed_blocks_total{}")},
               "ops"),
    ])


def _prefixes():
    return row("Prefix cache", [
        series("Prefix cache hits",
               "Share of prompt tokens that were found, by server. One server far below the others: the "
               "balancer spreads prompts that begin alike.",
               {"{{instance}}": share(FOUND, LOOKED_UP, "instance")},
               "percentunit", most=1),
        series("Prompt tokens",
               "Looked up, and found. What was not found is computed.",
               {"looked up": rate(LOOKED_UP),
                "found": rate(FOUND)}),
        series("Cached blocks given up",
               "For others that needed the room, a second. While hits fall: more KV memory, or floors and "
               "ceilings for tenants.",
               {"{{cache_class}}": rate("quire_prefix_cache_evicted_blocks_total{}", "cache_class")}, "ops"),
    ])


def _pressure():
    return row("Pressure", [
        series("Waiting, by reason",
               "turn: places or KV memory; tenant: its tenant's own limits; prefix: another request "
               "computes its beginning; reader: its client does not read.",
               {"{{reason}}": total("quire_requests_waiting_by_reason{}", "reason")}, stacked=True),
        series("Preemptions",
               "recompute: what the request had is computed again; swap: it is copied to host memory and "
               "back.",
               {"{{mode}}": rate(PREEMPTIONS, "mode")}, "ops", stacked=True),
        series("Computed again",
               "Share of the computed prompt tokens that had been computed before a preemption. Above some "
               "percent: start fewer, or more KV memory.",
               {"again": share("quire_recomputed_tokens_total{}", "quire_prompt_tokens_total{}")},
               "percentunit", thresholds=((0.1, "orange"),)),
        series("Preemptions of a request",
               "Of those that ended. p99 at --max-preemptions: some requests are preempted again and again.",
               quantiles("quire_request_preemptions{}")),
        series("Host memory",
               "For the KV of preempted requests; 0 where none is swapped. Always full: see QuireSwapFull.",
               {"{{state}}": total("quire_kv_host_bytes{}", "state")}, "bytes", stacked=True),
        series("Swapped",
               "Bytes of KV copied to host memory and back. Much: too many requests share too little KV "
               "memory.",
               {"{{direction}}": rate("quire_kv_swapped_bytes_total{}", "direction")}, "Bps"),
    ])


def _memory():
    return row("Memory", [
        series("Memory of the device",
               "By what is in it. Only graphs grow while the server runs, and only at first.",
               {"{{kind}}": total("quire_memory_bytes{}", "kind")}, "bytes", stacked=True, width=12),
        series("Bytes of a block",
               "Keys and values of all layers of a cache class: what a request takes for each "
               "--block-tokens.",
               {"{{cache_class}}": "max by (cache_class) (quire_kv_block_bytes{})"}, "bytes", width=12),
        table("Shape",
              "What decides a block's size. quire plan says what other choices would hold.",
              {"blocks": SHAPE}),
    ])


def dashboard():
    return build("quire-kv-memory", "Quire: KV memory",
                 "What the KV memory holds, what is shared and wasted in it, and who waits for it.",
                 [_now(), _blocks(), _prefixes(), _pressure(), _memory()])
