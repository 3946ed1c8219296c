"""Writes the dashboards of deploy/monitoring/grafana/dashboards:

    python3 deploy/tools/make_dashboards.py [--out DIR]

Change what is in deploy/tools/dashboards, not the JSON: a test compares the two. panels.py makes Grafana's
JSON, queries.py writes PromQL; each other module is a dashboard, but for slo.py, the objectives.
"""

import argparse
import json
import pathlib

from dashboards import kv_memory, overview, scheduler, tenants

OUT = pathlib.Path(__file__).resolve().parents[1] / "monitoring/grafana/dashboards"


def render():
    """Contents by file name."""
    made = [module.dashboard() for module in (overview, kv_memory, scheduler, tenants)]
    return {made["uid"].replace("-", "_") + ".json": json.dumps(made, indent=2) + "\n" for made in made}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    folder = parser.parse_args().out
    for name, content in render().items():
        (folder / name).write_text(content)
