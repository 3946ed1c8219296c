"""What has to be true of the objects of deploy/kubernetes, whatever is put together. Each function
yields what is wrong, as texts."""

import re

import yaml

import manifests
from custom_resources import is_custom, object_problems, picker_problems

SOURCES = {name: (manifests.ROOT / name).read_text() for name in
           ["CMakeLists.txt", "Dockerfile", "server/config.cc", "server/lifecycle.cc",
            "server/rpc/grpc_server.h"]}
VERSION = re.search(r"project\(quire VERSION (\S+)", SOURCES["CMakeLists.txt"])[1]
USER = int(re.search(r"^USER (\d+):\d+$", SOURCES["Dockerfile"], re.MULTILINE)[1])
LIVENESS = re.search(r'kLivenessName\[\] = "(.*)"', SOURCES["server/rpc/grpc_server.h"])[1]
# What a drain may take when --drain-timeout is over: streams flush, then they are given up.
AFTER_DRAIN = sum(int(re.search(rf"{name} = std::chrono::seconds\((\d+)\)",
                                SOURCES["server/lifecycle.cc"])[1])
                  for name in ("kFlushTime", "kAbortTime"))
LIVENESS_EXIT_AFTER = int(re.search(r'liveness_exit_after = "(\d+)s"', SOURCES["server/config.cc"])[1])
DEFAULT_GRACE = 30  # Kubernetes', in seconds
NAMESPACE = "quire"
# Who makes it and when is the user's affair; the rest is there.
OUTSIDE = {("Secret", "quire-tls"): {"tls.crt", "tls.key"},
           ("PersistentVolumeClaim", "quire-model"): None}
PINNED = re.compile(r"^[a-z0-9.-]+\.[a-z]+/[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9]+)?$")
LISTENERS = {"--listen", "--health-listen", "--metrics-listen", "--admin-listen"}


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def fields(objects):
    for each in objects:
        if is_custom(each):
            yield from object_problems(each)
    for text in _picker_files(objects):
        yield from picker_problems(yaml.safe_load(text))


def _picker_files(objects):
    return [text for each in objects.of("ConfigMap") for text in each["data"].values()]


def security(objects):
    for pods in manifests.pods(objects):
        spec, container = pods.spec, pods.container
        # A container's own says more than its pod's.
        context = {**spec.get("securityContext", {}), **container["securityContext"]}
        wanted = {"runAsNonRoot": True, "allowPrivilegeEscalation": False,
                  "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
                  "seccompProfile": {"type": "RuntimeDefault"}}
        for name, value in wanted.items():
            if context.get(name) != value:
                yield f"{pods.name}: {name} is {context.get(name)}"
        user = context.get("runAsUser")
        if not user or pods.is_quire and user != USER:
            yield f"{pods.name}: runAsUser is {user}"
        if pods.is_quire and context.get("fsGroup", user) != user:
            yield f"{pods.name}: fsGroup is {context['fsGroup']}"
        for name in ("privileged", "hostNetwork", "hostPID", "hostIPC", "procMount"):
            if name in context or name in spec:
                yield f"{pods.name}: has {name}"
        if any("hostPort" in port for port in container["ports"]):
            yield f"{pods.name}: has a hostPort"
        if any("hostPath" in volume for volume in spec.get("volumes", [])):
            yield f"{pods.name}: has a hostPath"
        has_token = spec.get("automountServiceAccountToken", True)
        if pods.owner["kind"] == "Deployment" and has_token != ("serviceAccountName" in spec):
            yield f"{pods.name}: automountServiceAccountToken is {has_token}"
    for role in objects.of("Role", "ClusterRole"):
        for rule in role["rules"]:
            if set(rule["verbs"]) - {"get", "list", "watch"} or {"secrets", "*"} & {*rule["resources"]}:
                yield f"Role {role['metadata']['name']}: {rule}"
    for space in objects.of("Namespace"):
        if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "Namespace: not restricted"


def resources(objects):
    for pods in manifests.pods(objects):
        has = pods.container["resources"]
        if has["requests"] != has["limits"] or not {"cpu", "memory"} <= has["limits"].keys():
            yield f"{pods.name}: requests and limits differ: {has}"
        if pods.is_quire and (pods.flags().get("--device") == "cuda") != ("nvidia.com/gpu" in has["limits"]):
            yield f"{pods.name}: a GPU and --device=cuda go together"


def images(objects):
    for pods in manifests.pods(objects):
        image = pods.container["image"]
        if not PINNED.match(image):
            yield f"{pods.name}: image {image} is not pinned"
        if pods.is_quire and not re.search(rf":{re.escape(VERSION)}(-cuda)?$", image):
            yield f"{pods.name}: image {image} is not version {VERSION}"
        if pods.is_quire and image.endswith("-cuda") != (pods.flags().get("--device") == "cuda"):
            yield f"{pods.name}: image {image} for --device={pods.flags().get('--device')}"


def _selectors(objects):
    for each in objects:
        spec, name = each.get("spec", {}), f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Service":
            yield name, spec["selector"]
        if each["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor", "InferencePool"):
            yield name, spec["selector"]["matchLabels"]
        if each["kind"] == "NetworkPolicy":
            yield name, spec["podSelector"]["matchLabels"]
            for rule in spec["ingress"]:
                yield from ((name, peer["podSelector"]["matchLabels"]) for peer in rule["from"]
                            if "podSelector" in peer)
        for spread in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", []):
            yield name, spread["labelSelector"]["matchLabels"]


def selectors(objects):
    every = manifests.pods(objects)
    for name, labels in _selectors(objects):
        if not labels or len(_selected_by(labels, every)) != 1:
            yield f"{name}: {labels} does not select one kind of pods"
    for each in objects.of("Deployment"):
        if not _selected_by(each["spec"]["selector"]["matchLabels"], [manifests.Pods(each)]):
            yield f"Deployment {each['metadata']['name']}: does not select its own pods"


def _selected_by(labels, every):
    return [pods for pods in every if labels.items() <= pods.labels.items()]


def ports(objects):
    quire = manifests.quire(objects)
    listening = {quire.listener(flag) for flag in LISTENERS if quire.listener(flag)}
    declared = set(quire.ports().values())
    # KServe takes the only port for that of the model.
    expected = {quire.listener("--listen")} if quire.owner["kind"] == "ServingRuntime" else listening
    if declared != expected:
        yield f"{quire.name}: ports {declared}, listens on {expected}"
    for flag in LISTENERS & quire.flags().keys():
        if not quire.flags()[flag].startswith("0.0.0.0:"):
            yield f"{quire.name}: {flag}={quire.flags()[flag]} is not to be reached"
    every = manifests.pods(objects)
    for service in objects.of("Service"):
        for port in service["spec"]["ports"]:
            for pods in _selected_by(service["spec"]["selector"], every):
                if pods.ports().get(port["targetPort"]) != port["port"]:
                    yield f"Service {service['metadata']['name']}: {pods.name} has no {port}"
    for monitor in objects.of("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if quire.ports().get(endpoint["port"]) != quire.listener("--metrics-listen"):
                yield f"PodMonitor: {endpoint['port']} is not the port of metrics"
    for pool in objects.of("InferencePool"):
        if pool["spec"]["targetPorts"] != [{"number": quire.listener("--listen")}]:
            yield f"InferencePool: {pool['spec']['targetPorts']}"
    for plugin in [each for text in _picker_files(objects) for each in yaml.safe_load(text)["plugins"]]:
        scraped = plugin.get("parameters", {}).get("port", quire.listener("--metrics-listen"))
        if scraped != quire.listener("--metrics-listen"):
            yield f"endpoint picker: {plugin['type']} scrapes port {scraped}"
    annotated = quire.spec.get("annotations", {}).get("prometheus.kserve.io/port")
    if annotated and int(annotated) != quire.listener("--metrics-listen"):
        yield f"{quire.name}: prometheus.kserve.io/port is {annotated}"


def network(objects):
    """Each port is for those who need it; who may call may not read metrics, and nothing goes out."""
    quire = manifests.quire(objects)
    policies = [each["spec"] for each in objects.of("NetworkPolicy")]
    if quire.owner["kind"] == "Deployment":
        if not any(each["policyTypes"] == ["Ingress", "Egress"] and each["egress"] == []
                   for each in policies):
            yield "NetworkPolicy: the server may call others"
    for rule in [rule for each in policies for rule in each["ingress"]]:
        open_ports = {port["port"] for port in rule["ports"]}
        if len(open_ports) != 1 or not rule.get("from") or {} in rule["from"]:
            yield f"NetworkPolicy: {rule}"
        wanted = "--metrics-listen"
        if rule["from"] == [{"namespaceSelector": {"matchLabels": {"quire-client": "true"}}}]:
            wanted = "--listen"
        if open_ports != {quire.listener(wanted)}:
            yield f"NetworkPolicy: {open_ports} for {rule['from']}"


def probes(objects):
    quire = manifests.quire(objects)
    plain = quire.listener("--health-listen")
    if plain is None and "--tls-cert" not in quire.flags():
        plain = quire.listener("--listen")
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = quire.container.get(name, {})
        if probe.get("grpc", {}).get("port") != plain:
            yield f"{quire.name}: {name} is not of a gRPC port without TLS"
            continue
        of_liveness = probe["grpc"]["service"] == LIVENESS
        if of_liveness == (name == "readinessProbe"):
            yield f"{quire.name}: {name} asks for {probe['grpc']['service']}"
    liveness = quire.container.get("livenessProbe", {})
    if liveness.get("periodSeconds", 0) * liveness.get("failureThreshold", 0) <= LIVENESS_EXIT_AFTER:
        yield f"{quire.name}: livenessProbe is quicker than the server itself"
    startup = quire.container.get("startupProbe", {})
    loading = startup.get("periodSeconds", 0) * startup.get("failureThreshold", 0)
    deadline = quire.owner["spec"].get("progressDeadlineSeconds")
    if deadline is not None and deadline < loading + 60:
        yield f"{quire.name}: progressDeadlineSeconds {deadline} for {loading} s of loading"


def termination(objects):
    quire = manifests.quire(objects)
    hook = quire.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = hook + seconds(quire.flags()["--drain-timeout"]) + AFTER_DRAIN
    grace = quire.spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    # KServe takes a pod out of its gateway before it ends it.
    if quire.owner["kind"] == "Deployment":
        needed += 5  # until the process has ended
        if hook == 0:
            yield f"{quire.name}: clients do not hear in time that a pod goes"
    if grace < needed:
        yield f"{quire.name}: terminationGracePeriodSeconds {grace}, needs {needed}"
    for pods in manifests.pods(objects):
        if pods.spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE) < grace:
            yield f"{pods.name}: ends before the servers that it sends requests to"


def files(objects):
    """Each file that a flag names is mounted, from where it follows changes."""
    for pods in manifests.pods(objects):
        volumes = {volume["name"]: volume for volume in pods.spec.get("volumes", [])}
        mounts = {mount["mountPath"]: mount for mount in pods.container.get("volumeMounts", [])}
        for mount in mounts.values():
            if mount.get("readOnly") is not True or "subPath" in mount:
                yield f"{pods.name}: {mount}"
        if {mount["name"] for mount in mounts.values()} != volumes.keys():
            yield f"{pods.name}: volumes {list(volumes)}, mounted {list(mounts)}"
            continue
        for volume in volumes.values():
            yield from _volume_problems(pods.name, volume, objects)
        model = pods.flags().get("--model", "")
        known = [*mounts, "/mnt/models"] if pods.owner["kind"] == "ServingRuntime" else mounts
        if pods.is_quire and not (model in SOURCES["Dockerfile"] or
                                  any(model.startswith(path) for path in known)):
            yield f"{pods.name}: --model: there is no {model}"
        for flag in ("--config", "--tls-cert", "--tls-key", "--config-file"):
            if flag in pods.flags():
                folder, _, name = pods.flags()[flag].rpartition("/")
                mount = mounts.get(folder)
                if mount is None or name not in _names_in(volumes[mount["name"]], objects):
                    yield f"{pods.name}: {flag}: no {name} in {folder}"


def _names_in(volume, objects):
    kind, name = (("Secret", volume["secret"]["secretName"]) if "secret" in volume else
                  ("ConfigMap", volume["configMap"]["name"]))
    found = [each for each in objects.of(kind) if each["metadata"]["name"] == name]
    return found[0]["data"].keys() if found else OUTSIDE.get((kind, name), set())


def _volume_problems(owner, volume, objects):
    if "secret" in volume:
        if volume["secret"].get("defaultMode") != 0o440:
            yield f"{owner}: {volume['name']}: others may read it"
    if "persistentVolumeClaim" in volume:
        claim = volume["persistentVolumeClaim"]
        if ("PersistentVolumeClaim", claim["claimName"]) not in OUTSIDE or not claim.get("readOnly"):
            yield f"{owner}: {volume}"
    elif not _names_in(volume, objects):
        yield f"{owner}: {volume['name']}: there is no such object"


def encryption(objects):
    quire = manifests.quire(objects)
    has_tls = "--tls-cert" in quire.flags()
    if has_tls == ("--insecure" in quire.flags()):
        yield f"{quire.name}: TLS and --insecure exclude each other"
    if quire.owner["kind"] == "Deployment" and "--config" not in quire.flags():
        yield f"{quire.name}: nobody asks who calls"
    for each in [port for service in objects.of("Service") if service["metadata"]["name"] == "quire"
                 for port in service["spec"]["ports"]] + [pool["spec"] for pool in
                                                          objects.of("InferencePool")]:
        if (each.get("appProtocol") == "kubernetes.io/h2c") == has_tls:
            yield f"appProtocol {each.get('appProtocol')} with TLS {has_tls}"


def availability(objects):
    for service in objects.of("Service"):
        if service["metadata"]["name"] == "quire" and service["spec"].get("clusterIP") != "None":
            yield "Service quire: not headless"
    for budget in objects.of("PodDisruptionBudget"):
        owner = manifests.quire(objects).owner["spec"]
        least = owner.get("replicas", 0)
        for scaled in objects.of("ScaledObject"):
            least = scaled["spec"]["minReplicaCount"]
        if budget["spec"].get("maxUnavailable") != 1 or least < 2:
            yield f"PodDisruptionBudget: {budget['spec'].get('maxUnavailable')} of {least}"
    for scaled in objects.of("ScaledObject"):
        yield from _scaling_problems(scaled["spec"], objects)


def _scaling_problems(spec, objects):
    target, = [each for each in objects.of("Deployment")
               if each["metadata"]["name"] == spec["scaleTargetRef"]["name"]] or [None]
    if target is None or "replicas" in target["spec"]:
        yield f"ScaledObject: {spec['scaleTargetRef']['name']} is not there or has replicas"
    if not 2 <= spec["minReplicaCount"] < spec["maxReplicaCount"]:
        yield "ScaledObject: minReplicaCount and maxReplicaCount"
    names = [trigger.get("name") for trigger in spec["triggers"]]
    if len(set(names)) != len(names) or None in names:
        yield f"ScaledObject: names of triggers: {names}"
    for trigger in spec["triggers"]:
        # Zero for "no numbers" would end servers when Prometheus does.
        if trigger["metadata"].get("ignoreNullValues") != "false" or "fallback" in spec:
            yield f"ScaledObject: {trigger['name']}: scales without numbers"
        if trigger.get("metricType", "AverageValue") != "AverageValue":
            yield f"ScaledObject: {trigger['name']}: not by the number of servers"
        query = trigger["metadata"]["query"]
        spaces = re.findall(r'quire_\w+\{[^}]*namespace="([^"]*)"', query)
        if set(spaces) != {NAMESPACE} or len(spaces) != len(re.findall(r"quire_\w+", query)):
            yield f"ScaledObject: {trigger['name']}: of other namespaces: {query}"


def references(objects):
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    for each in objects:
        space = each["metadata"].get("namespace")
        if each["kind"] not in ("Namespace", "ServingRuntime") and space != NAMESPACE:
            yield f"{each['kind']} {each['metadata']['name']}: in namespace {space}"
    for binding in objects.of("RoleBinding"):
        for to in [binding["roleRef"], *binding["subjects"]]:
            if (to["kind"], to["name"]) not in found or to.get("namespace", NAMESPACE) != NAMESPACE:
                yield f"RoleBinding: no {to['kind']} {to['name']}"
    for pods in manifests.pods(objects):
        account = pods.spec.get("serviceAccountName")
        if account and ("ServiceAccount", account) not in found:
            yield f"{pods.name}: no ServiceAccount {account}"
    for pool in objects.of("InferencePool"):
        to = pool["spec"]["endpointPickerRef"]
        service = found.get(("Service", to["name"]), {"spec": {"ports": []}})
        if to["port"]["number"] not in [port["port"] for port in service["spec"]["ports"]]:
            yield f"InferencePool: no Service {to}"
        picker = found.get(("Deployment", to["name"]))
        if picker and manifests.Pods(picker).flags()["--pool-name"] != pool["metadata"]["name"]:
            yield "InferencePool: its endpoint picker has another one"


POLICIES = [fields, security, resources, images, selectors, ports, network, probes, termination, files,
            encryption, availability, references]


def violations(objects):
    return [text for policy in POLICIES for text in policy(objects)]
