"""Manifests held against what an API server takes: Kubernetes' own schemas, and those of custom resources."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from kubernetes_validate import utils  # type: ignore[import-untyped]  # ships no types

from tools import crds

VERSION = "1.37"
utils.schema_contents = cache(utils.schema_contents)  # it would read a megabyte of definitions for every manifest


def validate(manifest: Mapping[str, Any]) -> None:
    """Raise `jsonschema.ValidationError` for what an API server does not take, `KeyError` for a group not known here."""
    group = manifest["apiVersion"].rpartition("/")[0]
    if "." not in group or group.endswith(".k8s.io"):
        utils.validate(manifest, VERSION, strict=True)
    else:
        crds.validate(manifest)
