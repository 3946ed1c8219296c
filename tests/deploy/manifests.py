"""deploy/kubernetes as kubectl renders it, and what the tests look for in it."""

import base64
import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
TIMEOUT = 60
# What a user may put together: a folder, and components on top of it.
VARIANTS = {
    "cpu": ["overlays/cpu"],
    "gpu": ["overlays/gpu"],
    "cpu plaintext": ["overlays/cpu", "plaintext"],
    "cpu optional": ["overlays/cpu", "model-volume", "prometheus-operator", "keda"],
    "gpu optional": ["overlays/gpu", "model-volume", "keda", "prometheus-operator"],
    "gpu gateway": ["overlays/gpu", "inference-extension", "model-volume"],
    "kserve": ["kserve"],
}


def missing():
    """Why nothing can be rendered here, or None."""
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    done = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True,
                          text=True, timeout=TIMEOUT)
    # Older ones do not say which Kustomize they have, which does not know components.
    if done.returncode != 0 or not json.loads(done.stdout).get("kustomizeVersion", "").startswith("v5"):
        return "kubectl is too old: version 1.27 or newer has the Kustomize that this takes"
    return None


def render(folder):
    """The objects of a folder with a kustomization; an AssertionError says why there are none."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True,
                          timeout=TIMEOUT)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return Objects(yaml.safe_load_all(done.stdout))


@contextlib.contextmanager
def folder_of(parts):
    """A copy of deploy/kubernetes, and in `mine` a kustomization that puts parts of it together."""
    folder, *components = parts
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(KUBERNETES, f"{root}/deploy/kubernetes")
        pathlib.Path(root, "mine").mkdir()
        pathlib.Path(root, "mine/kustomization.yaml").write_text(yaml.safe_dump({
            "resources": [f"../deploy/kubernetes/{folder}"],
            "components": [f"../deploy/kubernetes/components/{name}" for name in components]}))
        yield root


@functools.cache
def _rendered(variant):
    with folder_of(VARIANTS[variant]) as root:
        return render(f"{root}/mine")


def variant(name):
    """Its objects, which the caller may change."""
    return Objects(json.loads(json.dumps(list(_rendered(name)))))


class Objects(list):
    def of(self, *kinds):
        return [each for each in self if each["kind"] in kinds]

    def one(self, kind, name="quire"):
        found = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} objects {kind} {name}")
        return found[0]


class Pods:
    """The pods that an object makes: its specification, and labels that they have."""

    def __init__(self, owner):
        self.owner = owner
        self.name = f"{owner['kind']} {owner['metadata']['name']}"
        self.namespace = owner["metadata"].get("namespace")
        if owner["kind"] == "Deployment":
            self.spec = owner["spec"]["template"]["spec"]
            self.labels = owner["spec"]["template"]["metadata"]["labels"]
        else:
            self.spec, self.labels = owner["spec"], {}

    @property
    def container(self):
        container, = self.spec["containers"]
        return container

    @property
    def is_quire(self):
        return "quire:" in self.container["image"]

    def ports(self):
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def flags(self):
        """The arguments by name; a switch is empty."""
        return {name: value for name, _, value in
                (argument.partition("=") for argument in self.container["args"])}

    def listener(self, flag):
        """The port of a listener's flag, or None."""
        address = self.flags().get(flag)
        return int(address.rpartition(":")[2]) if address else None


def pods(objects):
    return [Pods(each) for each in objects.of("Deployment", "ServingRuntime")]


def quire(objects):
    found, = [each for each in pods(objects) if each.is_quire]
    return found


def secret_files(secret):
    """What lies in a Secret's folder, as text."""
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
