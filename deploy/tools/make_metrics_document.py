"""Writes deploy/METRICS.md from what a server says of its own metrics:

    quire-server --model deploy/models/quire-demo --metrics-compat vllm --admin-listen 127.0.0.1:50052 \\
        --tls-cert server.pem --tls-key server.key &
    curl -s http://127.0.0.1:9464/metrics | python3 deploy/tools/make_metrics_document.py >deploy/METRICS.md

A test (tests/e2e/test_metrics.py) compares the file with a scrape of such a server.
"""

import re
import sys

_HEAD = """# Metrics

Written by `deploy/tools/make_metrics_document.py` from the help texts of a server; do not edit. A scrape is one copy of the
engine's counters: it takes no lock that a step waits for. Labels that name one thing stand alone, those that tell series of a
family apart with their values. Counters start at 0 with the process. All times are in seconds, all sizes in bytes.

The first 100 tenants have series of their own, the others are added up as `other`. Which of these to look at when, with thresholds
and what to do: `deploy/RUNBOOK.md`.
"""
# Sections in this order; a family is in the first whose expression its name matches.
_SECTIONS = (
    ("Tenants", r"quire_tenant_", ""),
    ("KV cache and memory", r"quire_(kv|prefix_cache|memory)_", ""),
    ("Engine and steps", r"quire_(step|engine|scheduler|preemptions|recomputed|discarded)", ""),
    ("Requests, tokens and latencies", r"quire_(request|time|inter|queued|admission|prompt|generated)",
     ""),
    ("Server", r"quire_", "`quire_tls_certificate_expiry_timestamp_seconds` is there only with TLS.\n"),
    ("gRPC", r"grpc_", "`OK` and codes of failures have series from the start, others once they have "
     "occurred.\nThe admin service is counted where there is one.\n"),
    ("Process", r"process_", ""),
    ("Under the names of vLLM", r"vllm:", "With `--metrics-compat vllm` alone, for autoscalers, "
     "gateways and dashboards that know\nthese.\n"),
)
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$")
_LABEL = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
# Whose values follow from the model, the configuration or the traffic.
_FREE_LABELS = {"le", "model", "model_name", "tenant", "cache_class", "grpc_type", "grpc_service",
                "grpc_method", "grpc_code", "engine"}


class Family:
    def __init__(self, name, text):
        self.name, self.help, self.type, self.labels = name, text, "", {}

    def add(self, labels):
        for label, value in _LABEL.findall(labels or ""):
            values = self.labels.setdefault(label, [])
            if value not in values:
                values.append(value)

    def row(self):
        shown = []
        for label, values in self.labels.items():
            if label in ("le", "model"):
                continue
            told = len(values) > 1 and label not in _FREE_LABELS
            shown.append(f"{label}: {', '.join(values)}" if told else label)
        return f"| `{self.name}` | {self.type} | {'; '.join(shown)} | {self.help} |"


def families(scrape):
    """Of the text format; without those of the HTTP server's library."""
    found = []
    for line in scrape.splitlines():
        if line.startswith("# HELP "):
            found.append(Family(*line.split(" ", 3)[2:]))
        elif line.startswith("# TYPE "):
            found[-1].type = line.split(" ")[3]
        elif match := _SAMPLE.match(line):
            found[-1].add(match[2])
    return [family for family in found if not family.name.startswith("exposer_")]


def render(scrape):
    left, parts = families(scrape), [_HEAD]
    for title, expression, note in _SECTIONS:
        rows = [family.row() for family in left if re.match(expression, family.name)]
        left = [family for family in left if not re.match(expression, family.name)]
        parts.append("\n".join([f"## {title}", *([note.rstrip()] if note else []), "",
                                "| name | type | labels | meaning |", "|---|---|---|---|", *rows]) + "\n")
    if left:
        raise ValueError(f"in no section: {', '.join(family.name for family in left)}")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(render(sys.stdin.read()))
