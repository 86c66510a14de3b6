"""Whatever an API server with KEDA's CRDs refuses is found in a manifest."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from scaler.keda.manifests import survey
from tools import crds

API = "keda.sh/v1alpha1"
Path = tuple[str | int, ...]
TRIGGERS = [{"type": "external", "metadata": {"scalerAddress": "s:9090"}}]
SPECS: dict[str, dict[str, Any]] = {
    "ScaledObject": {"scaleTargetRef": {"name": "w"}, "triggers": TRIGGERS},
    "ScaledJob": {"jobTargetRef": {"template": {"spec": {"containers": [{"name": "a"}]}}}, "triggers": TRIGGERS},
}
VALUES = (-1, 1.5, True, "", "other", [], ["other"], {}, {"other": "x"})
NEEDED: dict[str, dict[str, Any]] = {  # the siblings without which the CRD refuses whatever stands beside them
    "fallback": {"failureThreshold": 3, "replicas": 3},
    "policies": {"type": "Pods", "value": 4, "periodSeconds": 15},
    "authenticationRef": {"name": "a"},
    "scaleTargetRef": {"name": "w"},
    "triggers": TRIGGERS[0],
}


def fields(schema: dict[str, Any], root: dict[str, Any], path: Path) -> Iterator[Path]:
    """Yield every field below `path`; a Job's own is the business of Kubernetes."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for alternative in schema.get("anyOf", ()):
        yield from fields(alternative, root, path)
    for key, value in schema.get("properties", {}).items():
        if key != "jobTargetRef":
            yield (*path, key)
            yield from fields(value, root, (*path, key))
    if "items" in schema:
        yield from fields(schema["items"], root, (*path, 0))


def changed(kind: str, path: Path, value: Any) -> dict[str, Any]:
    """Return a manifest with `value` at `path`, and what the CRD needs beside it."""
    spec: Any = copy.deepcopy(SPECS[kind])
    holder = spec
    for at, step in enumerate(path[:-1]):
        empty: Any = [{}] if isinstance(path[at + 1], int) else dict(NEEDED.get(str(step), {}))
        if isinstance(holder, list):
            name = str(path[at - 1])
            holder[0] = dict(NEEDED.get(name, {})) | holder[0]
            holder = holder[0]
        else:
            holder = holder.setdefault(step, empty)
    if isinstance(holder, list):
        holder[0] = value
    else:
        holder[path[-1]] = value
    return {"apiVersion": API, "kind": kind, "metadata": {"name": "shop"}, "spec": spec}


def refused(manifest: dict[str, Any]) -> bool:
    try:
        crds.validate(manifest)
    except jsonschema.ValidationError:
        return True
    return False


@pytest.mark.parametrize("kind", SPECS)
def test_what_the_crd_refuses_is_found(kind: str) -> None:
    root = crds.schema(API, kind)
    tried = 0
    for path in dict.fromkeys(fields(root["properties"]["spec"], root, ())):
        for manifest in (changed(kind, path, value) for value in VALUES):
            if refused(manifest):
                tried += 1
                found = survey(json.dumps(manifest))
                assert found.findings or found.refusals, (path, manifest)
    assert tried > 50
