"""The chart's values.schema.json: closed, with the types of values.yaml and the model of the configuration."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from scaler.settings import Settings
from tools.chart_values import documented

_THE_CHARTS_OWN = {"listen", "http", "healthListen", "tls"}
"""Of the configuration: set by other values, so that Service, probes and NetworkPolicy agree with them."""

_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_COUNT = {"type": "integer", "minimum": 0}
_DURATION = {"type": "string", "pattern": "^([0-9]+(h|m|s|ms))+$"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}


def _keys(*names: str, each: Any = True, required: Collection[str] = ()) -> dict[str, Any]:
    """Return an object with `names` and no others, of which Kubernetes itself checks the values."""
    closed = {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(names, each)}
    return {**closed, "required": list(required)} if required else closed


_PROBE = _keys(
    *("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"),
    each=_COUNT,
)
_CONTEXT = ("runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxOptions", "seccompProfile", "appArmorProfile")
_MORE: dict[str, dict[str, Any]] = {
    "commonLabels": _TEXTS,
    "commonAnnotations": _TEXTS,
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "imagePullSecrets": {"type": "array", "items": _keys("name", required=["name"])},
    "replicas": _COUNT,
    "autoscaling.minReplicas": {"type": "integer", "minimum": 1},
    "autoscaling.maxReplicas": {"type": "integer", "minimum": 1},
    "autoscaling.targetCPUUtilizationPercentage": {"type": "integer", "minimum": 1},
    "autoscaling.behavior": _keys("scaleUp", "scaleDown"),
    "keda.podLabels": _TEXTS,
    "config": {"$ref": "#/$defs/Settings"},
    "extraArgs": {"type": "array", "items": {"type": "string"}},
    "extraEnv": {"type": "array", "items": _keys("name", "value", "valueFrom", required=["name"])},
    "extraEnvFrom": {"type": "array", "items": _keys("prefix", "configMapRef", "secretRef")},
    "secretMounts": {
        "type": "array",
        "items": _keys("name", "secretName", "items", "defaultMode", "optional", required=["name", "secretName"]),
    },
    "ports.grpc": _PORT,
    "ports.http": _PORT,
    "ports.health": _PORT,
    "service.annotations": _TEXTS,
    "service.ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "tls.certManager.issuerRef.kind": {"type": "string", "minLength": 1},
    "tls.certManager.duration": _DURATION,
    "tls.certManager.renewBefore": _DURATION,
    "tls.certManager.extraDnsNames": _NAMES,
    "tls.triggerAuthentication.namespaces": _NAMES,
    "sources.workqueue.namespaces": _NAMES,
    "sources.argocd.applicationNamespaces": _NAMES,
    "sources.flux.namespaces": _NAMES,
    "serviceAccount.annotations": _TEXTS,
    "podAntiAffinity": {"enum": ["soft", "hard", "none"]},
    "affinity": _keys("nodeAffinity", "podAffinity", "podAntiAffinity"),
    "topologySpreadConstraints": {
        "type": "array",
        "items": _keys(
            *("maxSkew", "topologyKey", "whenUnsatisfiable", "labelSelector", "minDomains", "matchLabelKeys"),
            *("nodeAffinityPolicy", "nodeTaintsPolicy"),
            required=["maxSkew", "topologyKey", "whenUnsatisfiable"],
        ),
    },
    "nodeSelector": _TEXTS,
    "tolerations": {"type": "array", "items": _keys("key", "operator", "value", "effect", "tolerationSeconds")},
    "podAnnotations": _TEXTS,
    "podLabels": _TEXTS,
    "resources": _keys("requests", "limits", "claims"),
    "podSecurityContext": _keys(
        *_CONTEXT,
        *("fsGroup", "fsGroupChangePolicy", "seLinuxChangePolicy", "supplementalGroups", "supplementalGroupsPolicy"),
        *("sysctls", "windowsOptions"),
    ),
    "securityContext": _keys(
        *_CONTEXT,
        *("allowPrivilegeEscalation", "capabilities", "privileged", "procMount", "readOnlyRootFilesystem"),
        "windowsOptions",
    ),
    "preStopSleepSeconds": _COUNT,
    "terminationGracePeriodSeconds": _COUNT,
    "minReadySeconds": _COUNT,
    "revisionHistoryLimit": _COUNT,
    "updateStrategy": _keys("type", "rollingUpdate"),
    "probes.startup": _PROBE,
    "probes.readiness": _PROBE,
    "probes.liveness": _PROBE,
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"], "pattern": "^[0-9]+%$", "minimum": 0},
    "networkPolicy.monitoringNamespaces": _NAMES,
    "metrics.serviceMonitor.labels": _TEXTS,
    "metrics.serviceMonitor.interval": _DURATION,
    "metrics.podMonitor.labels": _TEXTS,
    "metrics.podMonitor.interval": _DURATION,
    "metrics.prometheusRule.labels": _TEXTS,
    "metrics.prometheusRule.disabledAlerts": _NAMES,
    "metrics.prometheusRule.alertLabels": _TEXTS,
    "metrics.dashboard.labels": _TEXTS,
    "metrics.dashboard.annotations": _TEXTS,
    "admissionPolicy.validationActions": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"enum": ["Deny", "Warn", "Audit"]},
        "not": {"allOf": [{"contains": {"const": "Deny"}}, {"contains": {"const": "Warn"}}]},
    },
    "admissionPolicy.failurePolicy": {"enum": ["Fail", "Ignore"]},
    "admissionPolicy.namespaceSelector": _keys("matchLabels", "matchExpressions"),
    "extraObjects": {"type": "array", "items": {"type": ["string", "object"]}},
}
"""By the path of a value: what its default does not tell. Lists and mappings without an entry hold any objects."""


def render(values: str) -> str:
    """Return the schema for the text of values.yaml."""
    unused = set(_MORE)
    root = _closed()
    root["properties"] |= {  # what Helm adds for, and expects from, a chart within another
        "global": {"type": "object", "description": "Values that Helm shares between charts; not used here."},
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
