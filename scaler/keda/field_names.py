"""The names of fields in ScaledObjects and ScaledJobs: how a message writes them, and which one was meant."""

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from scaler.keda.yaml_nodes import Path

MAX_DOTTED = 253
"""Maximum characters of a path in a message."""


def nearest(key: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" if one of `known` is similar to `key`, else ""."""
    near = difflib.get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def meant(path: Path, adapter: TypeAdapter[Any]) -> str:
    """Return "; did you mean …?" for an unknown field at `path` below `spec`; for one in a wrong place, the right place.

    Of several places the one that shares most of `path` counts.
    """
    key = str(path[-1])
    if key == "paused":
        return "; pauses are annotations: autoscaling.keda.sh/paused"
    known = places(adapter)
    if key not in known:
        return nearest(key, known)
    here = dotted(("spec", *path[:-1]))
    return f"; did you mean {max(known[key], key=lambda place: len(_common(place, here)))}?"


def _common(place: str, other: str) -> list[str]:
    """Return the steps that two paths share at their beginning."""
    steps = zip(place.split("."), other.split("."), strict=False)
    shared = []
    for step, theirs in steps:
        if step.partition("[")[0] != theirs.partition("[")[0]:
            break
        shared.append(step)
    return shared


@cache
def places(adapter: TypeAdapter[Any]) -> dict[str, list[str]]:
    """Return where each field stands, by its name: `behavior` in `spec.fallback.behavior`, and elsewhere."""
    schema = adapter.json_schema()
    places = {} if "scaleTargetRef" in schema["properties"] else {"jobTargetRef": ["spec.jobTargetRef"]}
    left: list[tuple[str, dict[str, Any]]] = [("spec", schema)]
    while left:
        at, part = left.pop(0)
        for name, field in part.get("properties", {}).items():
            if not name.startswith("("):  # our own, for values from outside of the spec
                places.setdefault(name, []).append(f"{at}.{name}")
                left += [(f"{at}.{name}{suffix}", schema["$defs"][inner]) for suffix, inner in _models(field)]
    return places


def _models(field: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the models that a field's schema leads to, each with "[]" before it if it is a list of them."""
    if "$ref" in field:
        yield "", field["$ref"].rpartition("/")[2]
    for alternative in field.get("anyOf", ()):
        yield from _models(alternative)
    if isinstance(field.get("items"), dict):
        yield from (("[]", name) for _, name in _models(field["items"]))


def dotted(path: Path) -> str:
    """Write a path as kubectl does: `spec.triggers[0].metadata.queueLength`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    text = text.removeprefix(".")
    return text if len(text) <= MAX_DOTTED else f"{text[:MAX_DOTTED]}…"
