"""deploy/monitoring: a Prometheus with its configuration and rules scrapes a server at work, and every query
of the dashboards finds numbers there. The dashboards are what their script writes."""

import copy
import itertools
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

import yaml

import grafana
from monitored_server import MonitoredServer
from prometheus_server import CONFIG, MONITORING, ROOT, TARGET, TIMEOUT, Prometheus

SERVICES = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
DASHBOARDS = grafana.dashboards()


def provisioned(kind):
    path, = (MONITORING / "grafana/provisioning" / kind).glob("*.yaml")
    return yaml.safe_load(path.read_text())


class ScrapeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work = MonitoredServer()
        cls.addClassCleanup(work.stop)
        cls.server = work.server
        cls.prometheus = Prometheus(urllib.parse.urlparse(cls.server.metrics_address).netloc)
        cls.addClassCleanup(cls.prometheus.stop)
        cls.prometheus.wait_for("rate(quire_live[1m])")  # two scrapes

    def test_every_query_of_the_dashboards_finds_numbers(self):
        # There is something in each rate.
        self.server.metrics_when(
            lambda metrics: metrics.total("quire_preemptions_total") > 0 and
            metrics.value("quire_admission_rejections_total", reason="tenant_queue_full") > 0 and
            metrics.value("quire_requests_finished_total", reason="cancelled") > 0)
        for name, dashboard in DASHBOARDS.items():
            with self.subTest(dashboard=name):
                self.assertEqual(grafana.problems(self.prometheus, dashboard), [])

    def test_a_query_that_finds_nothing_is_found(self):
        def panel(title, query):
            return {"type": "stat", "title": title, "targets": [{"expr": query}]}

        dashboard = {"templating": copy.deepcopy(DASHBOARDS["quire_overview.json"]["templating"]), "panels": [
            panel("good", 'quire_live{job=~"$job", model=~"$model", instance=~"$instance"}'),
            panel("broken", "sum(quire_live"), panel("no metric", "quire_no_such_metric"),
            panel("no label", 'quire_requests_finished_total{reason="tired"}'),
            panel("no number", "vector(0) / vector(0)"),
            {"type": "row", "title": "closed", "panels": [panel("hidden", "quire_live == 2"),
                                                          panel("good too", "rate(quire_live[$__range])")]}]}
        found = {title: problem for title, _, problem in
                 grafana.problems(self.prometheus, dashboard, patience=0)}
        self.assertIn("unclosed left parenthesis", found.pop("broken"))
        self.assertEqual(found, {"no metric": "nothing", "no label": "nothing", "no number": "not a number",
                                 "hidden": "nothing"})
        dashboard["templating"]["list"][1]["query"] = "label_values(quire_no_such_metric, job)"
        with self.assertRaises(ValueError):
            grafana.problems(self.prometheus, dashboard, patience=0)

    def test_every_rule_can_be_evaluated(self):
        def state():
            groups = self.prometheus.get("rules")["groups"]
            return [(rule["name"], rule["health"], rule.get("lastError"))
                    for group in groups for rule in group["rules"]]

        rules = state()
        while any(health == "unknown" for _, health, _ in rules):
            rules = state()
        self.assertEqual([rule for rule in rules if rule[1] != "ok"], [])

    def test_the_health_check_of_compose_finds_it_healthy(self):
        check = [word.replace("127.0.0.1:9090", self.prometheus.address)
                 for word in SERVICES["prometheus"]["healthcheck"]["test"][1:]]
        done = subprocess.run(check, capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)


class DashboardTest(unittest.TestCase):
    def test_they_are_what_the_script_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-B", ROOT / "deploy/tools/make_dashboards.py", "--out", folder],
                           check=True, timeout=TIMEOUT)
            written = {path.name: path.read_text() for path in pathlib.Path(folder).iterdir()}
        committed = {path.name: path.read_text() for path in grafana.FOLDER.iterdir()}
        self.assertEqual(sorted(written), sorted(committed))
        for name, content in written.items():
            self.assertTrue(content == committed[name],
                            f"{name} is not what deploy/tools/make_dashboards.py writes: run it")

    def test_ids_are_unique_and_uids_are_those_of_the_files(self):
        for name, dashboard in DASHBOARDS.items():
            self.assertEqual(dashboard["uid"].replace("-", "_") + ".json", name)
            ids = [item["id"] for item in grafana.items(dashboard)]
            self.assertEqual(len(ids), len(set(ids)), name)

    def test_panels_say_what_they_mean_and_in_which_unit(self):
        for name, dashboard in DASHBOARDS.items():
            for panel in grafana.panels(dashboard):
                with self.subTest(dashboard=name, panel=panel["title"]):
                    text, _, metrics = panel["description"].partition("\n\nMetrics: ")
                    self.assertTrue(text.endswith(".") and metrics.endswith("."))
                    self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                    self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"})
                    self.assertLessEqual(len(text), 250)

    def test_no_panel_lies_on_another(self):
        def cells(panel):
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            return itertools.product(range(place["x"], place["x"] + place["w"]),
                                     range(place["y"], place["y"] + place["h"]))

        for name, dashboard in DASHBOARDS.items():
            groups = [dashboard["panels"], *(panel.get("panels", []) for panel in dashboard["panels"])]
            for group in groups:
                taken = [cell for panel in group for cell in cells(panel)]
                self.assertEqual(len(taken), len(set(taken)), name)

    def test_each_has_the_same_variables_first(self):
        for name, dashboard in DASHBOARDS.items():
            names = [variable["name"] for variable in dashboard["templating"]["list"]]
            self.assertEqual(names[:4], ["datasource", "job", "model", "instance"], name)


class FilesTest(unittest.TestCase):
    def test_promtool_accepts_the_configuration(self):
        done = subprocess.run(["promtool", "check", "config", str(CONFIG)], capture_output=True,
                              text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("1 rule files found", done.stdout)

    def test_services_find_each_other(self):
        """Names and ports that one file says and another means."""
        self.assertIn(TARGET, CONFIG.read_text())
        self.assertIn("--metrics-listen=0.0.0.0:9464", SERVICES["quire"]["command"])
        source, = provisioned("datasources")["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        self.assertEqual(source["jsonData"]["timeInterval"],
                         yaml.safe_load(CONFIG.read_text())["global"]["scrape_interval"])
        # Dashboards choose the data source by its type, the default one first.
        self.assertEqual((source["type"], source["isDefault"]), ("prometheus", True))

    def mounts(self, service):
        """What lies where in the container."""
        return {target: (ROOT / "deploy" / source).resolve() for source, target, *_ in
                (volume.split(":") for volume in SERVICES[service]["volumes"])}

    def test_prometheus_finds_its_rules(self):
        mounts = self.mounts("prometheus")
        config, = [path for path, source in mounts.items() if source == CONFIG]
        for path in yaml.safe_load(CONFIG.read_text())["rule_files"]:
            folder = pathlib.PurePosixPath(config).parent / pathlib.PurePosixPath(path).parent
            self.assertTrue((mounts[str(folder)] / pathlib.PurePosixPath(path).name).is_file())

    def test_grafana_finds_the_dashboards(self):
        provider, = provisioned("dashboards")["providers"]
        folder = provider["options"]["path"]
        self.assertEqual(self.mounts("grafana")[folder], grafana.FOLDER)
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertIn(home, [f"{folder}/{name}" for name in DASHBOARDS])


if __name__ == "__main__":
    if shutil.which("prometheus") is None:
        print("skipped: prometheus is not installed (deploy/install_deps.sh --test)")
        sys.exit(77)
    unittest.main()
