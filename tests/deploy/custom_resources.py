"""The shapes of objects that Kubernetes itself has no schema for: which fields there are, and of what
type. Names are those of the public custom resource definitions.

A dictionary lists all fields, the required ones with a star; ANY is checked elsewhere or not at all.
"""

import re

ANY = object()
STRINGS = {str: str}  # any names, values of that type
DURATION = re.compile(r"^(0|(\d+(ms|[smhdwy]))+)$")
QUANTITY = re.compile(r"^\d+(\.\d+)?$")
DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")

METADATA = {"name*": re.compile(r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"), "namespace": DNS_LABEL,
            "labels": STRINGS, "annotations": STRINGS}
SELECTOR = {"matchLabels": STRINGS,
            "matchExpressions": [{"key*": str, "operator*": {"In", "NotIn", "Exists", "DoesNotExist"},
                                  "values": [str]}]}
POD_MONITOR = {
    "selector*": SELECTOR, "jobLabel": str, "podTargetLabels": [str],
    "namespaceSelector": {"any": bool, "matchNames": [str]},
    "sampleLimit": int, "targetLimit": int, "labelLimit": int, "labelNameLengthLimit": int,
    "labelValueLengthLimit": int, "keepDroppedTargets": int, "scrapeProtocols": [str],
    "attachMetadata": {"node": bool}, "scrapeClass": str,
    "podMetricsEndpoints*": [{
        "port": str, "portNumber": int, "path": str, "scheme": {"http", "https"}, "params": ANY,
        "interval": DURATION, "scrapeTimeout": DURATION, "tlsConfig": ANY, "honorLabels": bool,
        "honorTimestamps": bool, "trackTimestampsStaleness": bool, "basicAuth": ANY, "oauth2": ANY,
        "authorization": ANY, "metricRelabelings": ANY, "relabelings": ANY, "proxyUrl": str,
        "followRedirects": bool, "enableHttp2": bool, "filterRunning": bool}]}
PROMETHEUS_RULE = {"groups": [{
    "name*": str, "interval": DURATION, "query_offset": DURATION, "limit": int, "labels": STRINGS,
    "partial_response_strategy": {"abort", "warn"},
    "rules": [{"record": str, "alert": str, "expr*": str, "for": DURATION,
               "keep_firing_for": DURATION, "labels": STRINGS, "annotations": STRINGS}]}]}
SCALED_OBJECT = {
    "scaleTargetRef*": {"name*": DNS_LABEL, "apiVersion": str, "kind": str,
                        "envSourceContainerName": str},
    "pollingInterval": int, "initialCooldownPeriod": int, "cooldownPeriod": int,
    "idleReplicaCount": int, "minReplicaCount": int, "maxReplicaCount": int,
    "fallback": {"failureThreshold*": int, "replicas*": int,
                 "behavior": {"static", "currentReplicas", "currentReplicasIfHigher",
                              "currentReplicasIfLower"}},
    "advanced": {"restoreToOriginalReplicaCount": bool, "scalingModifiers": ANY,
                 # Kubernetes' own: HorizontalPodAutoscalerSpec.
                 "horizontalPodAutoscalerConfig": {"name": str, "behavior": ANY}},
    "triggers*": [{
        "type*": {"prometheus"}, "name": DNS_LABEL, "useCachedMetrics": bool,
        "metricType": {"AverageValue", "Value", "Utilization"},
        "authenticationRef": {"name*": str, "kind": str},
        # Of the scaler for Prometheus; all of them texts.
        "metadata*": {"serverAddress*": re.compile(r"^https?://[^/\s]+"), "query*": str,
                      "threshold*": QUANTITY, "activationThreshold": QUANTITY, "namespace": str,
                      "customHeaders": str, "ignoreNullValues": {"true", "false"},
                      "queryParameters": str, "unsafeSsl": {"true", "false"}, "timeout": QUANTITY,
                      "authModes": str}}]}
INFERENCE_POOL = {
    "selector*": {"matchLabels*": STRINGS},
    "targetPorts*": [{"number*": int}],
    "appProtocol": {"http", "kubernetes.io/h2c"},
    "endpointPickerRef*": {"group": str, "kind": str, "name*": DNS_LABEL, "port": {"number*": int},
                           "failureMode": {"FailOpen", "FailClose"}}}
SERVING_RUNTIME = {
    "supportedModelFormats": [{"name*": str, "version": re.compile(r"^\d+(\.\d+){0,2}$"),
                               "autoSelect": bool, "priority": int}],
    "multiModel": bool, "disabled": bool, "protocolVersions": [{"v1", "v2", "grpc-v1", "grpc-v2"}],
    "workerSpec": ANY, "grpcEndpoint": str, "grpcDataEndpoint": str, "httpDataEndpoint": str,
    "replicas": int, "storageHelper": {"disabled": bool}, "builtInAdapter": ANY,
    # Kubernetes' own, of a pod.
    "containers*": ANY, "volumes": ANY, "affinity": ANY, "tolerations": ANY,
    "nodeSelector": STRINGS, "labels": STRINGS, "annotations": STRINGS,
    "imagePullSecrets": [{"name*": str}], "hostIPC": bool}
SHAPES = {
    ("monitoring.coreos.com/v1", "PodMonitor"): POD_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED_OBJECT,
    ("inference.networking.k8s.io/v1", "InferencePool"): INFERENCE_POOL,
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): SERVING_RUNTIME,
}
# What llm-d's endpoint picker reads from its file, which no schema describes to Kubernetes.
PLUGIN_REFERENCE = {"pluginRef*": str}
PICKER_PARAMETERS = {
    "metrics-data-source": {
        "scheme": {"http", "https"}, "path": str, "port": int, "insecureSkipVerify": bool,
        "caCertPath": str, "clientCertPath": str, "clientKeyPath": str, "interval": DURATION,
        "families": [str]},
    "core-metrics-extractor": {
        "engineLabelKey": str, "defaultEngine": str,
        "engineConfigs": [{"name*": str, "queuedRequestsSpec": str, "runningRequestsSpec": str,
                           "kvUsageSpec": str, "loraSpec": str, "cacheInfoSpec": str,
                           "cacheBlockSizeLabelName": str, "cacheNumBlocksLabelName": str,
                           "cacheBlockSizeSpec": str, "cacheNumBlocksSpec": str}]},
}
PICKER_CONFIG = {
    "apiVersion*": {"llm-d.ai/v1alpha1"}, "kind*": {"EndpointPickerConfig"}, "featureGates": [str],
    "plugins*": [{"type*": str, "name": str, "parameters": ANY}],
    "schedulingProfiles*": [{"name*": str, "plugins*": [{"pluginRef*": str, "weight": int}]}],
    "dataLayer": {"sources": [{"pluginRef*": str, "extractors": [PLUGIN_REFERENCE]}]},
    "requestHandler": {"parsers": [PLUGIN_REFERENCE]}, "flowControl": ANY}


def _in_dictionary(value, shape, path):
    if not isinstance(value, dict):
        yield f"{path}: not a map: {value!r}"
        return
    if str in shape:
        for name, each in value.items():
            yield from problems(each, shape[str], f"{path}.{name}")
        return
    fields = {name.rstrip("*"): each for name, each in shape.items()}
    for name in shape:
        if name.endswith("*") and name[:-1] not in value:
            yield f"{path}: no {name[:-1]}"
    for name, each in value.items():
        if name in fields:
            yield from problems(each, fields[name], f"{path}.{name}")
        else:
            yield f"{path}: there is no field {name}"


def problems(value, shape, path):
    """What is wrong with a value, as texts."""
    if isinstance(shape, dict):
        yield from _in_dictionary(value, shape, path)
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            yield f"{path}: not a list with something in it: {value!r}"
            return
        for index, each in enumerate(value):
            yield from problems(each, shape[0], f"{path}[{index}]")
    elif isinstance(shape, set):
        if value not in shape:
            yield f"{path}: {value!r} is none of {sorted(shape)}"
    elif isinstance(shape, re.Pattern):
        if not isinstance(value, str) or not shape.match(value):
            yield f"{path}: {value!r} is not {shape.pattern}"
    # True is an int to Python.
    elif shape is not ANY and type(value) is not shape:
        yield f"{path}: {value!r} is no {shape.__name__}"


def is_custom(each):
    return (each["apiVersion"], each["kind"]) in SHAPES


def object_problems(each):
    shape = {"apiVersion*": str, "kind*": str, "metadata*": METADATA,
             "spec*": SHAPES[each["apiVersion"], each["kind"]]}
    return list(problems(each, shape, each["kind"]))


def picker_problems(config):
    """Of the endpoint picker's file; names of plugins are looked up as well."""
    found = list(problems(config, PICKER_CONFIG, "picker"))
    plugins = {each.get("name", each["type"]) for each in config["plugins"]}
    for each in config["plugins"]:
        if "parameters" in each:
            found += problems(each["parameters"], PICKER_PARAMETERS[each["type"]], each["type"])
    named = re.findall(r"'pluginRef': '([^']*)'", str(config))
    return found + [f"picker: there is no plugin {name}" for name in named if name not in plugins]
