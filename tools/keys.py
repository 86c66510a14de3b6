"""The metadata keys of a source as plain facts, taken from its pydantic model: for the reference page and the policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from scaler.sources.base import NAMESPACE, Trigger


@dataclass(frozen=True, slots=True)
class Key:
    """One metadata key. `type` is `text`, `list`, `integer`, `number`, `boolean` or `enum`; bounds are inclusive, except `above`."""

    name: str
    type: str
    description: str
    required: bool = False
    default: Any = None
    values: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    words: tuple[str, ...] = ()
    """What is allowed besides values of its type."""


def keys(trigger: type[BaseModel]) -> tuple[Key, ...]:
    """Return the keys of `trigger` in the order of its model."""
    schema = trigger.model_json_schema(by_alias=True)
    required = set(schema["required"])
    return tuple(
        _key(name, field, required=name in required)
        for name, field in schema["properties"].items()
        if name != NAMESPACE
    )


def own_keys(trigger: type[BaseModel]) -> tuple[Key, ...]:
    """Return the keys that `trigger` does not share with every other source, or shares with another default."""
    return tuple(key for key in keys(trigger) if key not in COMMON)


def _key(name: str, field: Mapping[str, Any], *, required: bool) -> Key:
    kind = next((option for option in field.get("anyOf", ()) if option.get("type") != "null"), field)
    if "$ref" in kind or "type" not in kind:
        raise TypeError(f"{name}: the type of this field is not known here: {field}")
    limits = {**field, **kind}
    return Key(
        name=name,
        type="enum" if "enum" in kind else _TYPES[kind["type"]],
        description=field.get("description", ""),
        required=required,
        default=field.get("default"),
        values=tuple(kind.get("enum", ())),
        least=max((limits[word] for word in ("ge", "minimum") if word in limits), default=None),
        above=max((limits[word] for word in ("gt", "exclusiveMinimum") if word in limits), default=None),
        most=min((limits[word] for word in ("le", "maximum") if word in limits), default=None),
        words=tuple(field.get("words", ())),
    )


_TYPES = {"string": "text", "array": "list", "integer": "integer", "number": "number", "boolean": "boolean"}


COMMON = keys(Trigger)
"""The keys of every source, with their usual defaults."""
