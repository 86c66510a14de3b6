"""What an API server takes, as JSON schemas: the forms that values.schema.json is made of."""

from collections.abc import Collection
from typing import Any

Schema = dict[str, Any]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
POSITIVE: Schema = {**COUNT, "minimum": 1}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
SHARE: Schema = {"type": ["integer", "string"], "pattern": "^(100|[0-9]{1,2})%$", "minimum": 0}
"""A number or a percentage, of what there is."""
SURGE: Schema = {**SHARE, "pattern": "^[0-9]+%$"}
"""A number or a percentage, beside what there is."""
ID: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1}
BOOLEAN: Schema = {"type": ["boolean", "null"]}
ADDRESS: Schema = {"type": "string", "pattern": r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$"}
GO_DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(h|m|s|ms))+$"}
SCRAPE_DURATION: Schema = {
    "type": "string",
    "pattern": "^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
}
"""Prometheus' own order of units; the Prometheus operator's CRDs take no other."""
DNS_LABEL: Schema = {"type": "string", "pattern": f"^{_LABEL}$", "maxLength": 63}
DNS_NAME: Schema = {"type": "string", "pattern": rf"^{_LABEL}(\.{_LABEL})*$", "maxLength": 253}
SERVICE_NAME: Schema = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 45}
"""RFC 1035, and short enough for the host names of the Deployment's pods."""
QUANTITY: Schema = {
    "type": ["string", "number"],
    "pattern": "^[0-9]+(\\.[0-9]*)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?$",
    "minimum": 0,
}
# As patterns of keys, not as `propertyNames`, for which helm garbles the path in its message.
LABELS: Schema = {
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {
        f"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}$": {
            "type": "string",
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
            "maxLength": 63,
        }
    },
}
ANNOTATIONS: Schema = {
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {f"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?/)?{_NAME}$": {"type": "string"}},
}


def or_empty(schema: Schema) -> Schema:
    """Return `schema` for a value whose empty text means that something else decides."""
    return {"anyOf": [{"const": ""}, schema]}


def listed(items: Schema) -> Schema:
    """Return a list of `items`, none twice."""
    return {"type": "array", "items": items, "uniqueItems": True}


def keys(*names: str, each: Any = True, required: Collection[str] = (), **more: Any) -> Schema:
    """Return an object with `names` and those of `more` and no others; an API server checks what `each` does not."""
    closed = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**dict.fromkeys(names, each), **more},
    }
    return {**closed, "required": list(required)} if required else closed


def named(*required: str) -> Schema:
    """Return a list of objects of Kubernetes that are told apart by their `name`."""
    item = {"type": "object", "properties": {"name": DNS_LABEL}, "required": ["name", *required]}
    return {"type": "array", "items": item}


def one_of(*names: str) -> Schema:
    """Return an object with exactly one of the keys `names`."""
    return {**keys(*names), "minProperties": 1, "maxProperties": 1}


def probe(*, success: Schema = COUNT) -> Schema:
    """Return the timing of a probe."""
    counts = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold")
    return keys(*counts, each=COUNT, successThreshold=success)


# What is about several keys of an entry is in `_checks.tpl`: of `not` helm says no more than that it failed.
ENV: Schema = {
    "type": "array",
    "items": {
        **keys(
            name={"type": "string", "pattern": "^[ -<>-~]+$"},
            value={"type": "string"},
            valueFrom=one_of("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"),
            required=["name"],
        ),
    },
}
ENV_FROM: Schema = {
    "type": "array",
    "items": {
        **keys("prefix", "configMapRef", "secretRef"),
        "oneOf": [{"required": ["configMapRef"]}, {"required": ["secretRef"]}],
    },
}
PULL_SECRETS: Schema = {"type": "array", "items": keys(name=DNS_NAME, required=["name"])}
TOLERATIONS: Schema = {
    "type": "array",
    "items": {
        **keys(
            *("key", "value"),
            operator={"enum": ["Exists", "Equal", "Lt", "Gt"]},
            effect={"enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"]},
            tolerationSeconds={"type": "integer"},
        ),
    },
}
SPREAD: Schema = {
    "type": "array",
    "items": {
        **keys(
            *("labelSelector", "matchLabelKeys"),
            maxSkew=POSITIVE,
            minDomains=POSITIVE,
            topologyKey={"type": "string", "minLength": 1},
            whenUnsatisfiable={"enum": ["DoNotSchedule", "ScheduleAnyway"]},
            nodeAffinityPolicy={"enum": ["Honor", "Ignore"]},
            nodeTaintsPolicy={"enum": ["Honor", "Ignore"]},
            required=["maxSkew", "topologyKey", "whenUnsatisfiable"],
        ),
    },
}
_RULES = keys(
    *("policies", "tolerance"),
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
)
HPA_BEHAVIOR: Schema = keys("scaleUp", "scaleDown", each=_RULES)


def mounts(reference: str) -> Schema:
    """Return volumes of Secrets or ConfigMaps, whose key `reference` names the object."""
    item = keys(
        key={"type": "string", "minLength": 1},
        path={"type": "string", "minLength": 1},
        mode={"type": "integer", "minimum": 0, "maximum": 0o777},
        required=["key", "path"],
    )
    volume = keys(
        name={**DNS_LABEL, "maxLength": 50},
        items={"type": "array", "items": item},
        defaultMode={"type": "integer", "minimum": 0, "maximum": 0o777},
        optional={"type": "boolean"},
        required=["name", reference],
        **{reference: DNS_NAME},
    )
    return {"type": "array", "items": volume}
