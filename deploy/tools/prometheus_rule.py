"""The rules of deploy/monitoring/rules as an object for the Prometheus Operator.

    python3 deploy/tools/prometheus_rule.py

writes deploy/kubernetes/components/prometheus-operator/prometheus-rule.yaml. Kustomize cannot put one
file into another, so the object is in the repository; tests/deploy/test_kubernetes.py compares the two.
"""

import pathlib
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/rules/quire.rules.yml"
OBJECT = ROOT / "deploy/kubernetes/components/prometheus-operator/prometheus-rule.yaml"
HEAD = """\
# Made by deploy/tools/prometheus_rule.py of deploy/monitoring/rules/quire.rules.yml: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: quire
  namespace: quire
  labels:
    app.kubernetes.io/name: quire
spec:
"""


def as_object(rules):
    """The text of the object with the text of a rule file in it, which stays as it is written."""
    return HEAD + textwrap.indent(rules, "  ")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    OBJECT.write_text(as_object(RULES.read_text()))
