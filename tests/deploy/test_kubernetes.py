"""deploy/kubernetes, rendered without a cluster: objects have the fields that Kubernetes knows, agree
with each other and with the server, and the server does with their flags what they rely on.

Schemas of Kubernetes' own objects are those of kubernetes-validate (tests/e2e/requirements.txt), whose
Python the environment names: QUIRE_CLIENTS_PYTHON.
"""

import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import yaml

import manifests
from custom_resources import is_custom
from manifest_policies import violations

sys.path.insert(0, str(manifests.ROOT / "tests/e2e"))
sys.path.insert(0, str(manifests.ROOT / "deploy/tools"))

import grpc  # noqa: E402
import prometheus_rule  # noqa: E402
from certificates import Authority  # noqa: E402
from quire_server import (MODEL, TIMEOUT, Answer, QuireServer, health_pb2,  # noqa: E402
                          health_pb2_grpc, inference_pb2_grpc, run_to_end)
from tenant_files import as_tenant, with_keys  # noqa: E402

OLDEST_KUBERNETES = "1.30"
HOST = "quire.quire.svc"  # what clients in the cluster call the Service
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GONE = object()
POD = "spec/template/spec"
CONTAINER = f"{POD}/containers/0"
# What somebody might do to an object, and what is then said: variant, kind, name, place, new value.
BREAKAGES = [
    ("cpu", "Deployment", "quire", f"{CONTAINER}/readinessProbe", GONE, "readinessProbe is not of"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/livenessProbe/grpc/port", 50051, "without TLS"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/livenessProbe/grpc/service", "live", "asks for live"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/image", "registry.example/quire:latest", "not pinned"),
    ("gpu", "Deployment", "quire", f"{CONTAINER}/image", "registry.example/quire:0.1.0", "for --device"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/securityContext/privileged", True, "has privileged"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/securityContext/capabilities/add", ["NET_ADMIN"],
     "capabilities is"),
    ("cpu", "Deployment", "quire", f"{POD}/securityContext/runAsUser", 0, "runAsUser is 0"),
    ("cpu", "Deployment", "quire", f"{POD}/securityContext/seccompProfile", GONE, "seccompProfile is"),
    ("cpu", "Deployment", "quire", f"{POD}/automountServiceAccountToken", GONE, "Token is True"),
    ("cpu", "Deployment", "quire", f"{POD}/terminationGracePeriodSeconds", 80, "needs 88"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/resources/limits/memory", "16Gi", "limits differ"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/ports/2/containerPort", 9090, "listens on"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/args/3", "--config=/etc/quire/keys/t.json", "no t.json"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/args/0", "--model=/models/other", "no /models/other"),
    ("cpu", "Deployment", "quire", f"{CONTAINER}/args/3", "--insecure", "exclude each other"),
    ("cpu", "Deployment", "quire", f"{POD}/volumes/0/secret/secretName", "keys", "no such object"),
    ("cpu", "Service", "quire", "spec/selector", {"app": "quire"}, "does not select"),
    ("cpu", "Service", "quire", "spec/clusterIP", GONE, "not headless"),
    ("cpu", "Service", "quire", "spec/ports/0/targetPort", "metrics", "Service quire: "),
    ("cpu", "PodDisruptionBudget", "quire", "spec/maxUnavailable", 0, "PodDisruptionBudget: 0"),
    ("cpu", "NetworkPolicy", "quire", "spec/egress", [{}], "may call others"),
    ("cpu", "NetworkPolicy", "quire", "spec/ingress/0/ports/0/port", 9464, "NetworkPolicy: {9464}"),
    ("cpu optional", "PodMonitor", "quire", "spec/podMetricsEndpoints/0/port", "grpc", "of metrics"),
    ("cpu optional", "PodMonitor", "quire", "spec/endpoints", [], "no field endpoints"),
    ("cpu optional", "PrometheusRule", "quire", "spec/groups/0/rules/0/for", "soon", "'soon' is not"),
    ("cpu optional", "Deployment", "quire", "spec/replicas", 3, "has replicas"),
    ("cpu optional", "ScaledObject", "quire", "spec/triggers/0/metadata/ignoreNullValues", "true",
     "without numbers"),
    ("cpu optional", "ScaledObject", "quire", "spec/triggers/0/metadata/threshold", 4, "4 is not"),
    ("cpu optional", "ScaledObject", "quire", "spec/triggers/0/metadata/query",
     'sum(quire_requests_waiting{namespace="other"})', "other namespaces"),
    ("gpu gateway", "InferencePool", "quire", "spec/targetPorts/0/number", 8000, "InferencePool: "),
    ("gpu gateway", "InferencePool", "quire", "spec/extensionRef", {}, "no field extensionRef"),
    ("gpu gateway", "InferencePool", "quire", "spec/endpointPickerRef/name", "epp", "no Service"),
    ("kserve", "ServingRuntime", "quire", "spec/protocolVersions/0", "grpc", "'grpc' is none of"),
]


def change(objects, kind, name, place, value):
    at = objects.one(kind, name)
    *folders, last = place.split("/")
    for folder in folders:
        at = at[int(folder) if isinstance(at, list) else folder]
    last = int(last) if isinstance(at, list) else last
    if value is GONE:
        del at[last]
    else:
        at[last] = value


class PolicyTest(unittest.TestCase):
    def test_whatever_is_put_together_agrees(self):
        for variant in manifests.VARIANTS:
            with self.subTest(variant=variant):
                self.assertEqual(violations(manifests.variant(variant)), [])

    def test_what_does_not_agree_is_found(self):
        for variant, *breakage, said in BREAKAGES:
            with self.subTest(variant=variant, breakage=breakage):
                objects = manifests.variant(variant)
                change(objects, *breakage)
                self.assertTrue(any(said in text for text in violations(objects)), violations(objects))

    def test_a_component_fits_its_base_or_is_refused(self):
        """Arguments are replaced by position, so a component looks at what it replaces."""
        folder = self.enterContext(manifests.folder_of(["overlays/cpu", "plaintext"]))
        base = pathlib.Path(folder, "deploy/kubernetes/base/deployment.yaml")
        base.write_text(base.read_text().replace("- --tls-cert", "- --threads=1\n            - --tls-cert"))
        with self.assertRaisesRegex(AssertionError, "test"):
            manifests.render(f"{folder}/mine")

    def test_the_kustomization_of_the_readme_is_one(self):
        lines = (manifests.KUBERNETES / "README.md").read_text().splitlines()
        begin = lines.index("    apiVersion: kustomize.config.k8s.io/v1beta1")
        mine = "\n".join(line[4:] for line in lines[begin:lines.index("", begin)])
        folder = self.enterContext(manifests.folder_of(["overlays/cpu"]))
        pathlib.Path(folder, "mine/kustomization.yaml").write_text(mine)
        pathlib.Path(folder, "mine/tenants.json").write_text("{}")
        objects = manifests.render(f"{folder}/mine")
        self.assertEqual(violations(objects), [])
        self.assertEqual(manifests.secret_files(objects.one("Secret", "quire-keys")),
                         {"tenants.json": "{}"})
        self.assertIn("registry.mine", manifests.quire(objects).container["image"])

    def test_a_plain_cluster_needs_nothing_else(self):
        for variant in ("cpu", "gpu", "cpu plaintext"):
            self.assertFalse([each["kind"] for each in manifests.variant(variant) if is_custom(each)])

    def test_every_component_is_described_and_tested(self):
        readme = (manifests.KUBERNETES / "README.md").read_text()
        tested = {component for _, *components in manifests.VARIANTS.values() for component in components}
        found = {path.name for path in (manifests.KUBERNETES / "components").iterdir()}
        self.assertEqual(found, tested)
        for name in found:
            self.assertIn(f"\n| `components/{name}` |", readme)


def core_objects():
    """All that Kubernetes has schemas for, once each: what others make pods or scalers of, too."""
    found = []
    for variant in manifests.VARIANTS:
        for each in manifests.variant(variant):
            meta, spec = {"name": each["metadata"]["name"]}, each.get("spec")
            if each["kind"] == "ServingRuntime":
                each = {"apiVersion": "v1", "kind": "Pod", "metadata": meta,
                        "spec": {"containers": spec["containers"]}}
            elif each["kind"] == "ScaledObject":
                target = {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]}
                scaler = {"scaleTargetRef": target, "maxReplicas": spec["maxReplicaCount"],
                          **spec["advanced"]["horizontalPodAutoscalerConfig"]}
                each = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                        "metadata": meta, "spec": scaler}
            if not is_custom(each) and each not in found:
                found.append(each)
    return found


@unittest.skipUnless(os.environ.get("QUIRE_CLIENTS_PYTHON"), "no Python with kubernetes-validate")
class SchemaTest(unittest.TestCase):
    def check(self, objects, *options):
        """What kubernetes-validate says; nothing if all is well."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump_all(objects, file)
            file.flush()
            done = subprocess.run(
                [os.environ["QUIRE_CLIENTS_PYTHON"], "-m", "kubernetes_validate", "--strict",
                 "--quiet", *options, file.name], capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode == 0, done.stdout == "", done.stdout + done.stderr)
        return done.stdout

    def test_the_oldest_and_the_newest_kubernetes_know_every_field(self):
        objects = core_objects()
        self.assertIn("Deployment", [each["kind"] for each in objects])
        self.assertEqual(self.check(objects, "-k", OLDEST_KUBERNETES), "")
        self.assertEqual(self.check(objects), "")

    def test_what_they_do_not_know_is_found(self):
        objects = manifests.variant("cpu")
        change(objects, "Deployment", "quire", f"{CONTAINER}/readinessProbes", {})
        self.assertIn("readinessProbes", self.check(objects))


class RuleTest(unittest.TestCase):
    def test_the_object_has_the_rules_of_the_file(self):
        made = prometheus_rule.as_object(prometheus_rule.RULES.read_text())
        self.assertTrue(prometheus_rule.OBJECT.read_text() == made, "run deploy/tools/prometheus_rule.py")
        self.assertEqual(manifests.variant("cpu optional").one("PrometheusRule")["spec"],
                         yaml.safe_load(prometheus_rule.RULES.read_text()))


class Volume:
    """A folder as the kubelet makes it of a Secret: all that is in it changes at once."""

    def __init__(self, path, files):
        self.path = path
        path.mkdir(parents=True)
        for name in files:
            (path / name).symlink_to(f"..data/{name}")
        self.update(files)

    def update(self, files):
        fresh = pathlib.Path(tempfile.mkdtemp(prefix="..", dir=self.path))
        for name, text in files.items():
            (fresh / name).write_text(text)
        (self.path / "..new").symlink_to(fresh.name)
        (self.path / "..new").rename(self.path / "..data")


class Container:
    """The files that the server finds in its container, below a folder here."""

    def __init__(self, test, objects):
        self.root = pathlib.Path(test.enterContext(tempfile.TemporaryDirectory()))
        authority = test.enterContext(Authority())
        certificate, key = authority.issue("server", f"DNS:{HOST}")
        self.roots = authority.roots.read_bytes()
        self.quire = manifests.quire(objects)
        Volume(self.root / "etc/quire/tls", {"tls.crt": certificate.read_text(),
                                             "tls.key": key.read_text()})
        if objects.of("Secret"):
            self.keys = Volume(self.root / "etc/quire/keys",
                               manifests.secret_files(objects.one("Secret", "quire-keys")))

    def flags(self, **changes):
        """The object's arguments, with files where they lie here; some of them changed."""
        words = []
        for flag, value in {**self.quire.flags(), **changes}.items():
            value = f"{self.root}{value}" if value.startswith("/etc/") else value
            value = MODEL if flag == "--model" else value.replace("{{.Name}}", "a-model")
            words += [flag, value] if value else [flag]
        return words


class ServerTest(unittest.TestCase):
    def test_it_accepts_the_flags(self):
        for variant in manifests.VARIANTS:
            with self.subTest(variant=variant):
                flags = Container(self, manifests.variant(variant)).flags()
                self.assertEqual(run_to_end("--check-config", *flags)[0], 0)
                self.assertEqual(run_to_end("--check-config", "--no-such-flag", *flags)[0], 1)

    def test_ports_are_those_that_it_has_by_default(self):
        help_text = subprocess.run([os.environ["QUIRE_SERVER"], "--help"], capture_output=True, text=True,
                                   timeout=TIMEOUT).stdout
        quire = manifests.quire(manifests.variant("cpu"))
        for flag in ("--listen", "--metrics-listen"):
            self.assertRegex(help_text, rf"\s{flag} \S+:{quire.listener(flag)}\s")

    def test_every_metric_that_is_asked_for_is_there(self):
        config, = manifests.variant("gpu gateway").of("ConfigMap")
        config = yaml.safe_load(config["data"]["endpoint-picker-config.yaml"])
        engine, = next(each for each in config["plugins"] if each["type"] == "core-metrics-extractor")[
            "parameters"]["engineConfigs"]
        with QuireServer() as server:
            metrics = server.metrics()
            for name in ("queuedRequestsSpec", "runningRequestsSpec", "kvUsageSpec"):
                metrics.value(engine[name])  # one series, as the picker wants it
            info, = metrics.samples[engine["cacheInfoSpec"]]
            self.assertLessEqual({"block_size", "num_gpu_blocks"}, dict(info).keys())
            for query in queries().values():
                for name, labels in re.findall(r"(quire_\w+)\{([^}]*)\}", query):
                    for label, values in re.findall(r'(\w+)=~?"([^"]*)"', labels):
                        for value in values.split("|") if label != "namespace" else []:
                            self.assertTrue(any((label, value) in each for each in metrics.samples[name]),
                                            f"{name} {label}={value}")
                    self.assertIn(name, metrics.samples)

    def test_it_starts_takes_new_keys_and_drains_as_its_objects_expect(self):
        container = Container(self, manifests.variant("cpu"))
        anywhere = {flag: "127.0.0.1:0" for flag in ("--listen", "--health-listen", "--metrics-listen")}
        server = self.enterContext(QuireServer(*container.flags(**anywhere)))
        probed = self.connect(server.health_address)
        client = self.connect(server.address, container.roots)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(self.probe(container, probe, probed), SERVING, probe)
        # The Secret in the repository lets nobody in.
        call = inference_pb2_grpc.InferenceServiceStub(client)
        self.assertEqual(self.ask(server, call, []).read().code, grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(self.ask(server, call, as_tenant("shop")).read().code,
                         grpc.StatusCode.UNAUTHENTICATED)

        container.keys.update({"tenants.json": json.dumps(with_keys({"name": "shop"}))})
        server.signal(signal.SIGHUP)
        server.log_line(lambda line: "tenants added: 1, removed: 1" in line)
        answers = [self.ask(server, call, as_tenant("shop"), max_tokens=1900) for _ in range(16)]
        for answer in answers:
            answer.read(at_most=1)

        server.signal()
        while self.probe(container, "readinessProbe", probed) != NOT_SERVING:
            pass  # each check is a round trip; its deadline ends the test
        self.assertEqual(self.probe(container, "livenessProbe", probed), SERVING)
        for answer in answers:
            self.assertEqual(answer.read().code, grpc.StatusCode.OK)
            self.assertEqual(len(answer.ids), 1900)
        self.assertEqual(server.wait(), 0)

    def connect(self, address, roots=None):
        options = [("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", HOST)]
        channel = (grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options) if roots
                   else grpc.insecure_channel(address, options[:1]))
        self.addCleanup(channel.close)
        return channel

    def ask(self, server, stub, metadata, max_tokens=1):
        return Answer(server.generate(stub=stub, metadata=metadata, max_tokens=max_tokens,
                                      ignore_eos=True))

    def probe(self, container, name, channel):
        service = container.quire.container[name]["grpc"]["service"]
        return health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status


def triggers():
    spec = manifests.variant("cpu optional").one("ScaledObject")["spec"]
    return {trigger["name"]: trigger["metadata"] for trigger in spec["triggers"]}


def queries():
    return {name: metadata["query"] for name, metadata in triggers().items()}


def waiting(pod, turn, tenant=0, namespace="quire", gone=False):
    """Series, each with two samples, of which the second may be that there is none any more."""
    labels = f'namespace="{namespace}",pod="{pod}",instance="{pod}:9464",model="m"'
    return {f'quire_requests_waiting_by_reason{{{labels},reason="{reason}"}}':
            (value, "stale" if gone else value) for reason, value in (("turn", turn), ("tenant", tenant))}


def blocks(pod, active, promised, fenced=0, cached=0, cache_class="full"):
    """The same of a KV cache of 1024 blocks."""
    labels = f'namespace="quire",pod="{pod}",instance="{pod}:9464",model="m",cache_class="{cache_class}"'
    states = {"active": active, "fenced": fenced, "cached": cached,
              "free": 1024 - active - fenced - cached}
    values = {**{f'quire_kv_blocks{{{labels},state="{state}"}}': n for state, n in states.items()},
              f"quire_kv_promised_blocks{{{labels}}}": promised,
              f"quire_kv_capacity_blocks{{{labels}}}": 1024}
    return {series: (value, value) for series, value in values.items()}


# Series, the trigger, what its query is then, and how many servers that takes.
LOADS = {
    "nothing to do": (waiting("a", 0) | waiting("b", 0), "queue", 0, 0),
    "a queue that two servers are too few for":
        (waiting("a", 9) | waiting("b", 6), "queue", 15, 4),
    "who waits for the own tenant's limits waits with more servers too":
        (waiting("a", 2, tenant=500), "queue", 2, 1),
    "another namespace's": (waiting("a", 1) | waiting("x", 99, namespace="test"), "queue", 1, 1),
    "one that went away": (waiting("a", 1) | waiting("b", 9, gone=True), "queue", 1, 1),
    "no numbers at all": ({}, "queue", None, None),
    "a cache that nobody uses": (blocks("a", 0, 0, cached=900), "kv", 0, 0),
    # 0.875 and 0.75: more than 0.8 each.
    "memory held, still used and promised":
        (blocks("a", 640, 128, fenced=128) | blocks("b", 256, 512), "kv", 1.625, 3),
    "the fullest of two classes": (blocks("a", 512, 0) | blocks("a", 512, 384, cache_class="window_4096"),
                                   "kv", 0.875, 2),
    "of one server alone there are numbers": (blocks("a", 512, 0) | waiting("b", 3), "kv", 0.5, 1),
    "no memory numbers": (waiting("a", 3), "kv", None, None),
}


class ScalingTest(unittest.TestCase):
    def run_promtool(self, expected):
        """promtool on all of LOADS, with the values in the place of theirs that are given."""
        tests = []
        for title, (series, trigger, value, _) in LOADS.items():
            value = expected.get(title, value)
            samples = [] if value is None else [{"labels": "{}", "value": value}]
            tests.append({
                "name": title, "interval": "15s",
                "input_series": [{"series": name, "values": f"{first} {second}"}
                                 for name, (first, second) in series.items()],
                "promql_expr_test": [{"expr": queries()[trigger], "eval_time": "15s",
                                      "exp_samples": samples}]})
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"evaluation_interval": "15s", "tests": tests}, file)
            file.flush()
            return subprocess.run(["promtool", "test", "rules", file.name], capture_output=True, text=True,
                                  timeout=TIMEOUT)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_queries_are_what_the_load_takes(self):
        done = self.run_promtool({})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = self.run_promtool({"no numbers at all": 0})
        self.assertEqual(done.returncode, 1, "promtool finds no difference")

    def test_thresholds_turn_them_into_servers(self):
        for title, (_, trigger, value, servers) in LOADS.items():
            with self.subTest(load=title):
                threshold = float(triggers()[trigger]["threshold"])
                self.assertEqual(value if value is None else math.ceil(value / threshold), servers)


if __name__ == "__main__":
    reason = manifests.missing()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
