"""PromQL from few words.

A metric is written with braces, `quire_requests_running{}`; select() puts into them what the variables of the
dashboard choose.
"""

import re

_SELECTOR = re.compile(r"([a-z_:0-9]+)\{([^}]*)\}")
# gRPC's metrics and the process's have no label for the model.
_WITH_MODEL = ("quire_", "job_model:", "instance:")
INTERVAL = "[$__rate_interval]"


def select(query):
    """The query, with the variables' choice in each selector. A label that is there already stays alone."""
    def selector(match):
        name, given = match.groups()
        labels = ["job"]
        if name.startswith(_WITH_MODEL):
            labels.append("model")
        if not name.startswith(("job:", "job_model:")):
            labels.append("instance")
        if name.startswith("quire_tenant_"):
            labels.append("tenant")
        chosen = [f'{label}=~"${label}"' for label in labels if not re.search(rf"\b{label}=", given)]
        return f"{name}{{{', '.join(chosen + [given] * bool(given))}}}"
    return _SELECTOR.sub(selector, query)


def metrics(query):
    """Names of the families that a query reads."""
    names = [name for name, _ in _SELECTOR.findall(query)]
    return list(dict.fromkeys(re.sub(r"_(bucket|count|sum)$", "", name) for name in names))


def total(metric, by=""):
    return f"sum by ({by}) ({metric})" if by else f"sum({metric})"


def rate(metric, by=""):
    return total(f"rate({metric}{INTERVAL})", by)


def share(part, whole, by=""):
    """Of the rates. Nothing where there is none of the whole."""
    return f"{rate(part, by)} / ({rate(whole, by)} > 0)"


def _part(metric, part):
    name, labels = metric.rstrip("}").split("{")
    return f"{name}_{part}{{{labels}}}"


def quantile(q, metric, by=""):
    """Nothing where nothing was observed, rather than NaN."""
    buckets = rate(_part(metric, "bucket"), f"le, {by}" if by else "le")
    return f"histogram_quantile({q}, {buckets}) >= 0"


def mean(metric, by=""):
    return share(_part(metric, "sum"), _part(metric, "count"), by)


def quantiles(metric):
    """By legend."""
    return {"p50": quantile(0.5, metric), "p90": quantile(0.9, metric), "p99": quantile(0.99, metric),
            "mean": mean(metric)}


def buckets(metric):
    """For a heatmap."""
    return f"sum by (le) (increase({_part(metric, 'bucket')}{INTERVAL}))"


def committed(by=""):
    """KV memory that is held or promised, of the fullest cache class."""
    part = ('(sum without (state) (quire_kv_blocks{state=~"active|fenced"}) + quire_kv_promised_blocks{})'
            ' / quire_kv_capacity_blocks{}')
    return f"max by ({by}) ({part})" if by else f"max({part})"
