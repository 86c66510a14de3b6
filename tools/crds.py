"""JSON schemas of custom resources, as an API server would hold manifests against them, from cloudcoil's models of the CRDs.

The packages need a newer Python for their client; the models alone do not, so only their fields are taken.
"""

import ast
import json
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pydantic

from tools import binaries

_PACKAGES = {
    "keda.sh/v1alpha1": ("cloudcoil-models-keda", "keda/v1alpha1.py"),
    "cert-manager.io/v1": ("cloudcoil-models-cert-manager", "cert_manager/v1.py"),
    "monitoring.coreos.com/v1": ("cloudcoil-models-prometheus-operator", "prometheus_operator/v1.py"),
    "helm.toolkit.fluxcd.io/v2": ("cloudcoil-models-fluxcd", "fluxcd/helm/v2.py"),
    "source.toolkit.fluxcd.io/v1": ("cloudcoil-models-fluxcd", "fluxcd/source/v1.py"),
}


class ObjectMeta(pydantic.BaseModel):
    """What manifests may say in `metadata`."""

    name: str
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Resource(pydantic.BaseModel):
    """The base of all kinds."""


def validate(manifest: Mapping[str, Any]) -> None:
    """Raise `jsonschema.ValidationError` for what the CRD does not allow, and `KeyError` for a group that is not known here."""
    _validator(manifest["apiVersion"], manifest["kind"]).validate(manifest)


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(api_version, kind))


def schema(api_version: str, kind: str) -> dict[str, Any]:
    """Return the schema of a kind, closed; made once for each version of the package and of this file."""
    package, name = _PACKAGES[api_version]
    path = binaries.file_of(package, f"cloudcoil/models/{name}")
    made_of = sha256(path.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]
    kept = binaries.cache() / f"{package}-{kind}-{made_of}.json"
    if not kept.exists():
        model = _model(path, kind)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_closed(model.model_json_schema(by_alias=True))))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def _model(path: Path, kind: str) -> type[pydantic.BaseModel]:
    """Return the model of `kind`: its own fields and those of the models it leads to, without builders and imports."""
    classes = _classes(path)
    wanted, found = [kind], set()
    while wanted:
        name = wanted.pop()
        if name in classes and name not in found:
            found.add(name)
            # Field types are plain names, in quotes where a model leads to itself.
            wanted += [node.id for node in ast.walk(classes[name]) if isinstance(node, ast.Name)]
            wanted += [str(node.value) for node in ast.walk(classes[name]) if isinstance(node, ast.Constant)]
    module = ModuleType(f"_{kind}")
    sys.modules[module.__name__] = module  # pydantic looks the names of annotations up there
    exec("from typing import *\nfrom pydantic import *", module.__dict__)  # noqa: S102 - a constant
    module.__dict__.update(ObjectMeta=ObjectMeta, Resource=Resource)
    tree = ast.Module([node for name, node in classes.items() if name in found], [])
    exec(compile(tree, str(path), "exec"), module.__dict__)  # noqa: S102 - a locked package, as an import would
    model: type[pydantic.BaseModel] = getattr(module, kind)
    return model


@cache
def _classes(path: Path) -> dict[str, ast.ClassDef]:
    """Return the classes of a module in its order, with nothing but their fields and configuration."""
    classes = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
    for node in classes.values():
        node.body = [part for part in node.body if isinstance(part, ast.AnnAssign | ast.Assign)] or [ast.Pass()]
    return classes


def _closed(schema: Any) -> Any:
    """Return `schema` with every object that has named fields closed, and Go's patterns as Python writes them."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed:
        closed.setdefault("additionalProperties", False)
    if isinstance(closed.get("pattern"), str):
        closed["pattern"] = closed["pattern"].replace("^(?i)", "(?i)^")
    return closed
