"""deploy/monitoring: a Prometheus with its configuration scrapes a server that works, and every
query of the dashboards finds something there."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from quire_server import TIMEOUT, Answer, QuireServer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
CONFIG = MONITORING / "prometheus.yml"
SERVICES = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
TARGET = "quire:9464"


def provisioned(kind):
    path, = (MONITORING / "grafana/provisioning" / kind).glob("*.yaml")
    return yaml.safe_load(path.read_text())


def dashboards():
    paths = sorted((MONITORING / "grafana/dashboards").glob("*.json"))
    assert paths, "no dashboards"
    return {path.name: json.loads(path.read_text()) for path in paths}


def queries(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


class Prometheus:
    """A Prometheus of our configuration, but for where the server is and how often it looks."""

    def __init__(self, target):
        self.folder = tempfile.TemporaryDirectory()
        config = CONFIG.read_text()
        assert TARGET in config
        config = config.replace(TARGET, target).replace("_interval: 5s", "_interval: 1s")
        path = pathlib.Path(self.folder.name, "prometheus.yml")
        path.write_text(config)
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.folder.name}/data",
             "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
        self.address = None
        for line in self.process.stderr:
            if "Listening on" in line:
                self.address = line.rsplit("address=", 1)[1].split()[0]
                break
        assert self.address, "Prometheus did not start"

    def query(self, expression):
        """Waits until a query has a result with numbers in it, and returns that."""
        address = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode(
            {"query": expression})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        give_up = time.monotonic() + TIMEOUT
        while time.monotonic() < give_up:
            try:
                with opener.open(address, timeout=TIMEOUT) as reply:
                    result = json.load(reply)["data"]["result"]
            except urllib.error.HTTPError as error:
                if error.code != 503:  # it is still starting
                    raise AssertionError(f"{expression}: {error.read().decode()}") from error
                continue
            if result and all(row["value"][1] != "NaN" for row in result):
                return result
        raise AssertionError(f"never found anything: {expression}")

    def stop(self):
        self.process.terminate()
        self.process.stderr.read()
        self.process.stderr.close()
        self.process.wait(TIMEOUT)
        self.folder.cleanup()


class ScrapeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer()
        cls.addClassCleanup(cls.server.stop)
        target = urllib.parse.urlparse(cls.server.metrics_address).netloc
        cls.prometheus = Prometheus(target)
        cls.addClassCleanup(cls.prometheus.stop)

    def test_every_query_of_the_dashboards_finds_something(self):
        self.prometheus.query("up == 1")
        # After the first scrape, so that rates are of something.
        Answer(self.server.generate(max_tokens=20, ignore_eos=True)).read()
        for name, dashboard in dashboards().items():
            for title, expression in queries(dashboard):
                with self.subTest(dashboard=name, panel=title, query=expression):
                    self.prometheus.query(expression.replace("$__rate_interval", "1m"))

    def test_a_query_for_what_is_not_there_finds_nothing(self):
        self.prometheus.query("up == 1")
        address = f"http://{self.prometheus.address}"
        done = subprocess.run(["promtool", "query", "instant", address, "quire_no_such_metric"],
                              capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""))

    def test_the_health_check_of_compose_finds_it_healthy(self):
        self.prometheus.query("up == 1")
        check = [word.replace("127.0.0.1:9090", self.prometheus.address)
                 for word in SERVICES["prometheus"]["healthcheck"]["test"][1:]]
        done = subprocess.run(check, capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)


class FilesTest(unittest.TestCase):
    def test_promtool_accepts_the_configuration(self):
        done = subprocess.run(["promtool", "check", "config", str(CONFIG)], capture_output=True,
                              text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_services_find_each_other(self):
        """Names and ports that one file says and another means."""
        self.assertIn(TARGET, CONFIG.read_text())
        self.assertIn("--metrics-listen=0.0.0.0:9464", SERVICES["quire"]["command"])
        source, = provisioned("datasources")["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        self.assertEqual(source["jsonData"]["timeInterval"],
                         yaml.safe_load(CONFIG.read_text())["global"]["scrape_interval"])
        for dashboard in dashboards().values():
            for panel in dashboard["panels"]:
                self.assertEqual(panel["datasource"]["uid"], source["uid"])

    def test_grafana_finds_the_dashboards(self):
        provider, = provisioned("dashboards")["providers"]
        folder = provider["options"]["path"]
        mounts = dict(volume.split(":")[1::-1] for volume in SERVICES["grafana"]["volumes"])
        self.assertEqual((ROOT / "deploy" / mounts[folder]).resolve(),
                         (MONITORING / "grafana/dashboards").resolve())
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertIn(home, [f"{folder}/{name}" for name in dashboards()])


if __name__ == "__main__":
    if shutil.which("prometheus") is None:
        print("skipped: prometheus is not installed (deploy/install_deps.sh --test)")
        sys.exit(77)
    unittest.main()
