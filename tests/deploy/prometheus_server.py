"""A Prometheus with the configuration of deploy/monitoring, and what it says of queries."""

import json
import pathlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
CONFIG = MONITORING / "prometheus.yml"
TARGET = "quire:9464"
# For whatever comes within seconds on a machine that is not busy.
TIMEOUT = 120


class Prometheus:
    """Our configuration, but for where the server is and how often it looks."""

    def __init__(self, target):
        self.folder = tempfile.TemporaryDirectory()
        config = CONFIG.read_text()
        assert TARGET in config and "- rules/" in config
        config = config.replace(TARGET, target).replace("_interval: 5s", "_interval: 1s")
        path = pathlib.Path(self.folder.name, "prometheus.yml")
        path.write_text(config.replace("- rules/", f"- {MONITORING}/rules/"))
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.folder.name}/data",
             "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
        self.address = None
        for line in self.process.stderr:
            if "Listening on" in line:
                self.address = line.rsplit("address=", 1)[1].split()[0]
                break
        assert self.address, "Prometheus did not start"

    def get(self, path, **parameters):
        """What its API answers; an error is a ValueError with its text."""
        address = f"http://{self.address}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        give_up = time.monotonic() + TIMEOUT
        while True:
            try:
                with opener.open(address, timeout=TIMEOUT) as reply:
                    return json.load(reply)["data"]
            except urllib.error.HTTPError as error:
                if error.code == 503 and time.monotonic() < give_up:  # it is still starting
                    continue
                raise ValueError(json.load(error)["error"]) from error

    def problem(self, query, patience=TIMEOUT):
        """What is wrong with a query after so many seconds, or None once it has a result of numbers."""
        give_up = time.monotonic() + patience
        while True:
            try:
                result = self.get("query", query=query)["result"]
            except ValueError as error:
                return str(error)
            if result and all(row["value"][1] != "NaN" for row in result):
                return None
            if time.monotonic() >= give_up:
                return "not a number" if result else "nothing"

    def wait_for(self, query):
        problem = self.problem(query)
        assert problem is None, f"{query}: {problem}"

    def stop(self):
        self.process.terminate()
        self.process.stderr.read()
        self.process.stderr.close()
        self.process.wait(TIMEOUT)
        self.folder.cleanup()


def rules():
    """Of all groups of the rule file."""
    file, = (MONITORING / "rules").glob("*.yml")
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
