"""The chart's values.schema.json: closed, with the types of values.yaml and the model of the configuration."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from scaler.settings import Settings
from tools import chart_types as types
from tools.chart_values import documented

_THE_CHARTS_OWN = {"listen", "http", "healthListen", "tls"}
"""Of the configuration: set by other values, so that Service, probes and NetworkPolicy agree with them."""

_CONTEXT: dict[str, Any] = {
    **dict.fromkeys(("seLinuxOptions", "seccompProfile", "appArmorProfile", "windowsOptions"), True),
    **dict.fromkeys(("runAsUser", "runAsGroup"), types.ID),
    "runAsNonRoot": types.BOOLEAN,
}
_MONITOR = {
    "labels": types.LABELS,
    "interval": {**types.SCRAPE_DURATION, "minLength": 2},
    "scrapeTimeout": types.SCRAPE_DURATION,
}
_OPTIONAL = {"enum": ["alwaysRender", "failIfMissing", "skipIfMissing"]}
_MORE: dict[str, types.Schema] = {
    "nameOverride": types.or_empty(types.DNS_LABEL),
    "fullnameOverride": types.or_empty(types.SERVICE_NAME),
    "namespaceOverride": types.or_empty(types.DNS_LABEL),
    "clusterDomain": types.DNS_NAME,
    "commonLabels": types.LABELS,
    "commonAnnotations": types.ANNOTATIONS,
    "global.imagePullSecrets": {
        "type": "array",
        "items": {"anyOf": [types.DNS_NAME, types.keys(name=types.DNS_NAME, required=["name"])]},
    },
    "image.registry": {"type": "string", "pattern": "^([a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)?$"},
    "image.repository": {
        "type": "string",
        "pattern": "^([a-zA-Z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$",
    },
    "image.tag": {"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$"},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "imagePullSecrets": types.PULL_SECRETS,
    "replicas": types.COUNT,
    "autoscaling.minReplicas": types.POSITIVE,
    "autoscaling.maxReplicas": types.POSITIVE,
    "autoscaling.targetCPUUtilizationPercentage": types.POSITIVE,
    "autoscaling.behavior": types.HPA_BEHAVIOR,
    "keda.namespace": types.DNS_LABEL,
    "keda.podLabels": types.LABELS,
    "config": {"$ref": "#/$defs/Settings"},
    "extraArgs": {"type": "array", "items": {"type": "string"}},
    "extraEnv": types.ENV,
    "extraEnvFrom": types.ENV_FROM,
    "secretMounts": types.mounts("secretName"),
    "configMapMounts": types.mounts("configMapName"),
    "ports.grpc": types.PORT,
    "ports.http": types.PORT,
    "ports.health": types.PORT,
    "service.annotations": types.ANNOTATIONS,
    "service.ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "service.ipFamilies": types.listed({"enum": ["IPv4", "IPv6"]}),
    "tls.secretName": types.or_empty(types.DNS_NAME),
    "tls.certManager.issuerRef.kind": {"type": "string", "minLength": 1},
    "tls.certManager.duration": types.GO_DURATION,
    "tls.certManager.renewBefore": types.GO_DURATION,
    "tls.certManager.extraDnsNames": types.listed({"type": "string", "minLength": 1}),
    "tls.triggerAuthentication.namespaces": types.listed(types.DNS_LABEL),
    "tls.triggerAuthentication.secretName": types.or_empty(types.DNS_NAME),
    "sources.workqueue.namespaces": types.listed(types.DNS_LABEL),
    "sources.argocd.namespace": types.DNS_LABEL,
    "sources.argocd.applicationNamespaces": types.listed(types.DNS_LABEL),
    "sources.flux.namespace": types.DNS_LABEL,
    "sources.flux.namespaces": types.listed(types.DNS_LABEL),
    "spareBusy.namespaces": types.listed(types.DNS_LABEL),
    "serviceAccount.name": types.or_empty(types.DNS_NAME),
    "serviceAccount.annotations": types.ANNOTATIONS,
    "podAntiAffinity": {"enum": ["soft", "hard", "none"]},
    "affinity": types.keys("nodeAffinity", "podAffinity", "podAntiAffinity"),
    "topologySpreadConstraints": types.SPREAD,
    "nodeSelector": types.LABELS,
    "tolerations": types.TOLERATIONS,
    "priorityClassName": types.or_empty(types.DNS_NAME),
    "runtimeClassName": types.or_empty(types.DNS_NAME),
    "schedulerName": types.or_empty(types.DNS_NAME),
    "hostAliases": {
        "type": "array",
        "items": types.keys(
            ip=types.ADDRESS,
            hostnames=types.listed(types.DNS_NAME),
            required=["ip", "hostnames"],
        ),
    },
    "dnsPolicy": {"enum": ["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]},
    "dnsConfig": types.keys(
        nameservers={"type": "array", "items": types.ADDRESS, "maxItems": 3},
        searches={"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 32},
        options={
            "type": "array",
            "items": types.keys(name={"type": "string", "minLength": 1}, value={"type": "string"}, required=["name"]),
        },
    ),
    "deploymentAnnotations": types.ANNOTATIONS,
    "podAnnotations": types.ANNOTATIONS,
    "podLabels": types.LABELS,
    "resources": types.keys(
        "claims",
        requests={"type": "object", "additionalProperties": types.QUANTITY},
        limits={"type": "object", "additionalProperties": types.QUANTITY},
    ),
    "podSecurityContext": types.keys(
        *("fsGroupChangePolicy", "seLinuxChangePolicy", "supplementalGroups", "supplementalGroupsPolicy", "sysctls"),
        fsGroup=types.ID,
        **_CONTEXT,
    ),
    "securityContext": types.keys(
        *("capabilities", "procMount"),
        **dict.fromkeys(("allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem"), types.BOOLEAN),
        **_CONTEXT,
    ),
    "preStopSleepSeconds": types.COUNT,
    "terminationGracePeriodSeconds": types.COUNT,
    # Below the 600 s after which Kubernetes says that a rollout has failed.
    "minReadySeconds": {**types.COUNT, "maximum": 599},
    "revisionHistoryLimit": types.COUNT,
    "updateStrategy": types.keys(
        type={"enum": ["RollingUpdate", "Recreate"]},
        rollingUpdate={**types.keys(maxSurge=types.SURGE, maxUnavailable=types.SHARE), "type": ["object", "null"]},
    ),
    "probes.startup": types.probe(success={"const": 1}),
    "probes.readiness": types.probe(),
    "probes.liveness": types.probe(success={"const": 1}),
    "podDisruptionBudget.maxUnavailable": types.SHARE,
    "networkPolicy.monitoringNamespaces": types.listed(types.DNS_LABEL),
    **{f"metrics.serviceMonitor.{key}": schema for key, schema in _MONITOR.items()},
    **{f"metrics.podMonitor.{key}": schema for key, schema in _MONITOR.items()},
    **{
        f"metrics.{kind}.{key}": schema
        for kind in ("serviceMonitor", "podMonitor", "prometheusRule")
        for key, schema in {"renderMode": _OPTIONAL, "namespace": types.or_empty(types.DNS_LABEL)}.items()
    },
    "metrics.prometheusRule.labels": types.LABELS,
    "metrics.prometheusRule.disabledAlerts": types.listed({"type": "string", "minLength": 1}),
    "metrics.prometheusRule.extraRules": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["expr"],
            "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
        },
    },
    "metrics.prometheusRule.alertLabels": {"type": "object", "additionalProperties": {"type": "string"}},
    "metrics.dashboard.namespace": types.or_empty(types.DNS_LABEL),
    "metrics.dashboard.labels": types.LABELS,
    "metrics.dashboard.annotations": types.ANNOTATIONS,
    "admissionPolicy.validationActions": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"enum": ["Deny", "Warn", "Audit"]},
    },
    "admissionPolicy.failurePolicy": {"enum": ["Fail", "Ignore"]},
    "admissionPolicy.namespaceSelector": types.keys("matchLabels", "matchExpressions"),
    "extraInitContainers": types.named("image"),
    "extraContainers": types.named("image"),
    "extraVolumes": types.named(),
    "extraVolumeMounts": types.named("mountPath"),
    "extraObjects": {"type": "array", "items": {"type": ["string", "object"]}},
}
"""By the path of a value: what its default does not tell. Lists and mappings without an entry hold any objects."""


def render(values: str) -> str:
    """Return the schema for the text of values.yaml."""
    unused = set(_MORE)
    root = _closed()
    root["properties"] |= {  # of a chart within another: values that all of them share, and the `condition` of this one
        "global": {"type": "object", "properties": {}},
        "enabled": {"type": "boolean", "description": "For the `condition` of a chart that depends on this one."},
    }
    for value in documented(values):
        name = ".".join(map(str, value.path))
        unused.discard(name)
        parent = root
        for key in value.path[:-1]:
            parent = parent["properties"].setdefault(str(key), _closed())
        parent["properties"][str(value.path[-1])] = {
            **(_MORE[name] if name in _MORE else _type_of(value.default)),
            "description": value.comment,
        }
    if unused:
        raise ValueError(f"values.yaml has no {', '.join(sorted(unused))}")
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of keda-queue-scaler"}
    return json.dumps({**head, **root, "$defs": _settings()}, indent=2) + "\n"


def _closed() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _type_of(default: Any) -> dict[str, Any]:
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, str):
        return {"type": "string"}
    if isinstance(default, list):
        return {"type": "array", "items": {"type": "object"}}
    if isinstance(default, dict):
        return {"type": "object"}
    raise TypeError(f"say in _MORE what values are allowed instead of {default!r}")


def _settings() -> dict[str, Any]:
    """Return the definitions for `config`: the file's own keys, without those that the chart sets."""
    schema = Settings.model_json_schema(by_alias=True)
    top = {to_camel(name): field for name, field in schema["properties"].items()}
    properties = {name: field for name, field in top.items() if name not in _THE_CHARTS_OWN}
    whole = {"type": "object", "additionalProperties": False, "properties": properties}
    unused = {"TlsSettings"}
    sections = {name: section for name, section in schema["$defs"].items() if name not in unused}
    return {name: _plain(section) for name, section in {**sections, "Settings": whole}.items()}


def _plain(schema: Any) -> Any:
    """Return `schema` without what only pydantic makes use of, but with every property, whatever it is named."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: value for key, value in schema.items() if key not in {"title", "default", "format", "writeOnly"}}
    return {
        key: {name: _plain(field) for name, field in value.items()} if key == "properties" else _plain(value)
        for key, value in kept.items()
    }
