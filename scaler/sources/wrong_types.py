"""Lists, maps and blanks of a template that stand where a trigger has text: what they are, and what to write instead."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin

LOOKED_AT = 4_000
"""Characters up to which a value is looked at."""
MAX_NAMES = 10
_EMPTY = re.compile(r"<no value>|<nil>|%!\w*\(|\{\{")
"""How Helm and Go print a value that there is not, or of another type, and a template that nobody has rendered."""
_ONE_NAME = re.compile(r"[^\s\[\]{}()\"'`,=]+")


@cache
def is_list(annotation: Any) -> bool:
    """Tell whether a key of this type holds several texts, with commas between them."""
    return get_origin(annotation) is tuple or any(map(is_list, get_args(annotation)))


def hint(key: str, value: str, *, several: bool, secret: bool = False) -> str | None:
    """Return what is wrong with the type of `value`, and what to write; None if it is plain text.

    Without a part of `value` where that may hold a `secret`.
    """
    if len(value) > LOOKED_AT:
        return None
    if _EMPTY.search(value):
        return "is what a template leaves where it has no value, or none of this type; give it one"
    found = _parsed(value)
    if found is None:
        return None
    kind = "a map" if isinstance(found, Mapping) else "a list"
    names = _texts(key, found) if (several or key.lower().endswith("selector")) and not secret else []
    write = (
        f'; write "{",".join(names)}"'
        if names
        else "; write plain text, with commas between several"
        if several
        else ""
    )
    return f"is {kind}, and what a trigger holds is text{write}"


def _parsed(value: str) -> Mapping[str, Any] | list[Any] | None:
    """Return the list or map in `value`: JSON, YAML in one line, or as Go prints it, which Helm does."""
    try:
        found = json.loads(value) if value[:1] in {"[", "{"} else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict | list):
        return found
    match re.fullmatch(r"(map)?\[([^\[\]]*)\]|\{([^{}]*)\}", value):
        case None:
            return None
        case whole if whole[1] or whole[3] is not None:
            parts = re.split(r"\s*,\s*" if whole[1] is None else r"\s+", (whole[2] or whole[3] or "").strip())
            pairs = [re.split(r":\s*|:?\Z", part, maxsplit=1) for part in parts if part]
            return {name: value for name, value, *_ in pairs}
        case whole:
            return [part for part in re.split(r"[\s,]+", whole[2]) if part]


def _texts(key: str, found: Mapping[str, Any] | list[Any]) -> list[str]:
    """Return the first names in a list or map; for a selector of labels, its pairs."""
    if isinstance(found, Mapping) and key.lower().endswith("selector"):
        mark = '"' if key == "selector" else ""  # of series in Prometheus
        pairs = [f"{name}={mark}{value}{mark}" for name, value in found.items() if isinstance(value, str | int)]
        return pairs[:MAX_NAMES]
    items = (each[0] if isinstance(each, list) and each else each for each in found)
    names = [str(each.get("name", "") if isinstance(each, dict) else each) for each in items]
    return [name for name in (name.strip("\"'") for name in names) if _ONE_NAME.fullmatch(name)][:MAX_NAMES]
