"""The dashboards of deploy/monitoring as Grafana reads them: panels, variables and queries."""

import json
import re
import time

from prometheus_server import MONITORING, TIMEOUT

FOLDER = MONITORING / "grafana/dashboards"
# What Grafana puts in by itself. The interval is long enough for everything that the load does.
BUILT_IN = {"__rate_interval": "30s", "__range": "1m"}
_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
_VARIABLE = re.compile(r"\$(\w+)")


def dashboards():
    paths = sorted(FOLDER.glob("*.json"))
    assert paths, "no dashboards"
    return {path.name: json.loads(path.read_text()) for path in paths}


def items(dashboard):
    """Panels and rows, those too that closed rows keep inside."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def panels(dashboard):
    return [item for item in items(dashboard) if item["type"] != "row"]


def queries(dashboard):
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def _put_in(query, values):
    return _VARIABLE.sub(lambda match: values[match[1]], query)


def variables(prometheus, dashboard):
    """The value of each variable with everything chosen; one that has none is an error."""
    values = dict(BUILT_IN)
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "query":
            selector, label = _VALUES.fullmatch(variable["query"]).groups()
            found = prometheus.get(f"label/{label}/values", **{"match[]": _put_in(selector, values)})
            if not found:
                raise ValueError(f"no values for {name}: {variable['query']}")
            values[name] = "|".join(found)
        elif variable["type"] == "custom":
            values[name] = variable["current"]["value"]
    return values


def problems(prometheus, dashboard, patience=TIMEOUT):
    """(panel, query, what is wrong) of each query that does not find numbers within that time."""
    values = variables(prometheus, dashboard)
    found, give_up = [], time.monotonic() + patience
    for title, query in queries(dashboard):
        query = _put_in(query, values)
        problem = prometheus.problem(query, give_up - time.monotonic())
        if problem is not None:
            found.append((title, query, problem))
    return found
