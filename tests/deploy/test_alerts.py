"""deploy/monitoring/rules: promtool accepts the rules and has every alert fire, clear and stay silent; what
they and the dashboards read is what a server exports; each alert has its section in deploy/RUNBOOK.md."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import yaml

import grafana
from monitored_server import MonitoredServer
from prometheus_server import MONITORING, ROOT, TIMEOUT, rules

sys.path.insert(0, str(ROOT / "deploy/tools"))

from dashboards import slo  # noqa: E402

RULES = MONITORING / "rules/quire.rules.yml"
TESTS = sorted((MONITORING / "rules/tests").glob("*.yml"))
RUNBOOK = (ROOT / "deploy/RUNBOOK.md").read_text()
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDS = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}

OURS = r"(?<![\w:])(?:quire|grpc_server|process)_\w+(?![\w:(])"
SELECTOR = re.compile(rf"({OURS})(?:\{{([^}}]*)\}})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
RECORDED = re.compile(r"\b(?:job|job_model|instance):\w+:\w+")
# Go's names, by which the server counts calls once they have occurred.
CODES = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
         "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
         "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"}


def promtool(*arguments, **more):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT, **more)


def cases():
    """(alert, evaluations in time's order: whether it fires) of each test and alert in it."""
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            by_alert = {}
            for check in case["alert_rule_test"]:
                by_alert.setdefault(check["alertname"], []).append(bool(check.get("exp_alerts")))
            yield from by_alert.items()


class PromtoolTest(unittest.TestCase):
    def test_it_accepts_the_rules(self):
        done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_do_what_their_tests_say(self):
        done = promtool("test", "rules", *TESTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_alert_fires_clears_and_stays_silent(self):
        clears, silent = set(), set()
        for alert, fires in cases():
            if True in fires and not fires[-1]:
                clears.add(alert)
            if True not in fires:
                silent.add(alert)
        self.assertEqual(clears, set(ALERTS))
        self.assertEqual(silent, set(ALERTS))


class RunbookTest(unittest.TestCase):
    def test_every_alert_has_a_section_and_every_section_an_alert(self):
        sections = re.findall(r"^## (Quire\w+)$", RUNBOOK, re.MULTILINE)
        self.assertEqual(sections, list(ALERTS))
        for name, rule in ALERTS.items():
            self.assertEqual(rule["annotations"].keys(), {"summary", "description", "runbook_url"}, name)
            # As the headings of Markdown become anchors.
            self.assertEqual(rule["annotations"]["runbook_url"], f"deploy/RUNBOOK.md#{name.lower()}")
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
        pages = RUNBOOK.index("# Pages"), RUNBOOK.index("# Tickets")
        for name, rule in ALERTS.items():
            at = RUNBOOK.index(f"## {name}\n")
            self.assertEqual(pages[0] < at < pages[1], rule["labels"]["severity"] == "page", name)

    def test_alerts_that_texts_name_exist(self):
        texts = [RUNBOOK, *(panel["description"] for dashboard in grafana.dashboards().values()
                            for panel in grafana.panels(dashboard))]
        for name in re.findall(r"\bQuire[A-Z]\w+", " ".join(texts)):
            self.assertIn(name, ALERTS)

    def test_panels_that_it_names_exist(self):
        titles = {panel["title"] for dashboard in grafana.dashboards().values()
                  for panel in grafana.panels(dashboard)}
        named = re.findall(r'panels? ((?:"[^"]+"(?:, | and )?)+)', RUNBOOK)
        self.assertGreater(len(named), 5)
        for title in re.findall('"([^"]+)"', " ".join(named)):
            self.assertIn(title, titles)

    def test_commands_and_flags_that_it_names_exist(self):
        def help_of(program, *words):
            return subprocess.run([os.environ[program], *words, "--help"], capture_output=True, text=True,
                                  check=True, timeout=TIMEOUT).stdout

        admin = help_of("QUIRE_CLI", "admin")
        commands = re.findall(r"quire admin --server ADMIN (\w+)", RUNBOOK)
        self.assertGreater(len(commands), 5)
        for command in commands:
            self.assertRegex(admin, rf"(?m)^ +{command}\b")
        flags = set(re.findall(r"--[a-z][a-z-]+", help_of("QUIRE_SERVER") + admin))
        for flag in re.findall(r"`(--[a-z][a-z-]+)", RUNBOOK):
            self.assertIn(flag, flags)


class ObjectivesTest(unittest.TestCase):
    """The numbers of the rules are those of the dashboards."""

    def test_budgets_and_burn_rates(self):
        for name, budget in [("Availability", slo.CALLS_BUDGET), ("FirstToken", slo.FIRST_TOKEN_BUDGET)]:
            for speed, factor in [("Fast", f"{slo.FAST_BURN} * "), ("Slow", f"{slo.SLOW_BURN} * "),
                                  ("Long", "")]:
                expression = ALERTS[f"Quire{name}Burn{speed}"]["expr"]
                self.assertEqual(re.findall(r"> ([\d. *]+\d)", expression), [f"{factor}{budget}"] * 2)
        self.assertEqual(re.findall(r"> ([\d.]+)", ALERTS["QuireNextTokenBurnLong"]["expr"]),
                         [str(slo.NEXT_TOKEN_BUDGET)] * 2)

    def test_edges_and_what_counts(self):
        for record, expression in RECORDS.items():
            matchers = set(re.findall(r'\w+=~?"[^"]*"', expression))
            if record.startswith("job:quire_calls_failed:"):
                self.assertEqual(matchers, {
                    slo.METHODS, f'reason=~"{slo.FULL_REASONS}"', f'grpc_code=~"{slo.FAILED_CODES}"',
                    f'grpc_code=~"OK|{slo.FAILED_CODES}"'})
            elif record.startswith("job_model:quire_first_token_slow:"):
                self.assertEqual(matchers, {slo.FIRST_TOKEN_EDGE})
            elif record.startswith("job_model:quire_next_token_slow:"):
                self.assertEqual(matchers, {slo.NEXT_TOKEN_EDGE})

    def test_windows_are_what_names_say(self):
        for record, expression in RECORDS.items():
            if "ratio_rate" in record:
                windows = set(re.findall(r"\[(\w+)\]", expression))
                self.assertEqual(windows, {record.split("ratio_rate")[1]}, record)


class ExportedTest(unittest.TestCase):
    """Names and labels that rules, their tests and dashboards read are a server's with everything."""

    @classmethod
    def setUpClass(cls):
        work = MonitoredServer()
        cls.addClassCleanup(work.stop)
        cls.scrape = work.server.metrics_text()
        cls.metrics = work.server.metrics_when(
            lambda metrics: metrics.value("quire_requests_finished_total", reason="cancelled") > 0)
        cls.shown = [(f"{name}, {title}", query) for name, dashboard in grafana.dashboards().items()
                     for title, query in grafana.queries(dashboard)]
        cls.queries = cls.shown + [(f"rule {rule.get('alert') or rule['record']}", rule["expr"])
                                   for rule in rules()]

    def unmatched(self, query):
        """Names and label values of a query that no series has."""
        for name, matchers in SELECTOR.findall(query):
            samples = [dict(labels) for labels in self.metrics.samples.get(name, {})]
            if not samples:
                yield name
            for label, operator, value in MATCHER.findall(matchers):
                if label in ("job", "instance") or "$" in value:
                    continue
                values = {sample.get(label, "") for sample in samples}
                if label == "grpc_code":
                    values |= CODES
                parts = value.split("|") if operator == "=~" else [re.escape(value)]
                found = [any(re.fullmatch(part, one) for one in values) for part in parts]
                if not (any(found) if label == "le" else all(found)):
                    yield f'{name}{{{label}{operator}"{value}"}}'

    def test_what_queries_read_is_exported(self):
        self.assertGreater(len(self.queries), 200)
        for where, query in self.queries:
            with self.subTest(where=where):
                self.assertEqual(list(self.unmatched(query)), [])

    def test_what_is_exported_is_shown(self):
        """On one dashboard at least; those of the library that serves HTTP are not ours."""
        shown = {name for _, query in self.shown for name, _ in SELECTOR.findall(query)}
        shown |= {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
        exported = {name for name in self.metrics.types if not name.startswith("exposer_")}
        self.assertEqual(exported - shown, set())

    def test_what_is_not_exported_is_found(self):
        for query, expected in [
                ("sum(rate(quire_no_such_total[5m]))", 1), ('quire_steps_total{kind="encode"}', 1),
                ('quire_steps_total{kind=~"decode|encode"}', 1), ('quire_steps_total{knd="decode"}', 1),
                ('quire_request_queue_seconds_bucket{le="0.7"}', 1), ("grpc_server_handled_total", 0),
                ('grpc_server_handled_total{grpc_code=~"OK|Cancelled"}', 1),
                ('quire_request_queue_seconds_bucket{le=~"1|1[.]0"}', 0), ("process_threads{}", 0)]:
            self.assertEqual(len(list(self.unmatched(query))), expected, query)

    def test_series_of_the_rules_tests_look_like_those_of_a_server(self):
        for path in TESTS:
            for case in yaml.safe_load(path.read_text())["tests"]:
                for series in case["input_series"]:
                    name, text = re.fullmatch(r"(\w+)\{(.*)\}", series["series"]).groups()
                    if name == "up":
                        continue
                    with self.subTest(file=path.name, series=series["series"]):
                        labels = set(re.findall(r'(\w+)="', text)) - {"job", "instance"}
                        have = [set(dict(one)) for one in self.metrics.samples.get(name, {})]
                        self.assertTrue(any(labels <= one for one in have), have[:1])

    def test_what_is_recorded_is_read_and_the_other_way_round(self):
        read = {name for _, query in self.queries for name in RECORDED.findall(query)}
        self.assertEqual(read, set(RECORDS))

    def test_metrics_that_the_runbook_names_are_exported(self):
        exported = set(self.metrics.types) | set(self.metrics.samples)
        named = set(re.findall(OURS, RUNBOOK))
        self.assertGreater(len(named), 20)
        self.assertEqual(named - exported, set())
        self.assertLessEqual(set(RECORDED.findall(RUNBOOK)), set(RECORDS))

    def test_promtool_finds_nothing_to_say_of_what_is_exported(self):
        # Those of the library that serves HTTP are not ours.
        ours = "\n".join(line for line in self.scrape.splitlines() if "exposer_" not in line) + "\n"
        done = promtool("check", "metrics", input=ours)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    if shutil.which("promtool") is None:
        print("skipped: prometheus is not installed (deploy/install_deps.sh --test)")
        sys.exit(77)
    unittest.main()
