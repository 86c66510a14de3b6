"""The validations of the chart's ValidatingAdmissionPolicy, from the models of the sources.

What they refuse the parser refuses too. They see one manifest and one key at a time, so the parser knows more: values
from the environment, rules about several keys, the form of URLs and names.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from scaler.sources import SOURCES
from scaler.sources.triggers import FROM_ENV, KEDA_KEYS
from tools.keys import COMMON, Key, keys

_SPACE = r"[\s\p{Z}]*"
_FORMS = {
    "integer": ("[+-]?[0-9]{1,19}", "a whole number"),
    "number": (r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?", "a number"),
    "boolean": ("true|false", "true or false"),
    "list": (r"[^,]*[^,\s][^,]*(,[^,]*[^,\s][^,]*)*", "a comma-separated list without empty items"),
}
"""What a value of a type looks like, and what it is called in a message."""


def render() -> str:
    """Return `variables` and `validations`; the chart's template has the variable `ours`, the metadata of our triggers."""
    policy = {"variables": list(_variables()), "validations": [*_common(), *_per_source()]}
    return "# Generated from the models of the sources by `python -m tools`; not to be edited.\n" + yaml.safe_dump(
        policy, sort_keys=False, width=1_000, allow_unicode=True
    )


def _variables() -> Iterator[dict[str, str]]:
    for name in SOURCES:
        yield {"name": name, "expression": f"variables.ours.filter(m, 'source' in m && {_fits('m.source', name)})"}
    for name in SOURCES:
        known = "|".join(key.name for key in keys(SOURCES[name].trigger))
        strange = f"!(k in {sorted(KEDA_KEYS)}) && !k.matches('^({known})({FROM_ENV})?$') && {_given('m[k]')}"
        yield {
            "name": f"{name}Unknown",
            "expression": f"variables.{name}.map(m, m.filter(k, {strange})).filter(l, size(l) > 0)",
        }


def _common() -> Iterator[dict[str, Any]]:
    allowed = ", ".join(SOURCES)
    fits = _fits("m.source", "|".join(SOURCES))
    yield _validation(
        f"variables.ours.all(m, 'source{FROM_ENV}' in m || ('source' in m && {fits}))",
        f"source: required, one of {allowed}",
    )
    yield _validation(
        f"variables.ours.all(m, m.all(k, !(k + '{FROM_ENV}' in m) || k in {sorted(KEDA_KEYS)} || !{_given('m[k]')}))",
        f"a key is given both plain and with {FROM_ENV}; keep one of them",
    )
    for key in COMMON:
        if key.name != "source":
            yield from _of_key(key, "ours", "")


def _per_source() -> Iterator[dict[str, Any]]:
    for name, source in SOURCES.items():
        said = f"source {name}: "
        known = ", ".join(key.name for key in keys(source.trigger))
        yield {
            **_validation(f"size(variables.{name}Unknown) == 0", f"{said}unknown key"),
            "messageExpression": f"variables.{name}Unknown[0][0] + ': unknown key for source {name}; known: {known}'",
        }
        common = {key.name for key in COMMON}
        for key in keys(source.trigger):
            if key.name not in common:
                yield from _of_key(key, name, said)


def _of_key(key: Key, triggers: str, said: str) -> Iterator[dict[str, Any]]:
    """Yield what `key` of all of `variables.<triggers>` must be."""
    value = f"m.{key.name}"
    given = f"'{key.name}' in m && {_given(value)}"
    if key.required:
        yield _validation(
            f"variables.{triggers}.all(m, '{key.name}{FROM_ENV}' in m || ({given}))",
            f"{said}{key.name}: required",
        )
    checks = list(_checks(key, value))
    if checks:
        words = f"{_fits(value, '|'.join(map(re.escape, key.words)))} || " if key.words else ""
        yield _validation(
            f"variables.{triggers}.all(m, !({given}) || {words}({' && '.join(checks)}))",
            f"{said}{key.name}: must be {_allowed(key)}",
        )


def _checks(key: Key, value: str) -> Iterator[str]:
    if key.type == "enum":
        yield _fits(value, "|".join(map(re.escape, key.values)))
    elif key.type in _FORMS:
        yield _fits(value, _FORMS[key.type][0])
        number = f"double({value}.trim())"
        for sign, bound in ((">", key.above), (">=", key.least), ("<=", _most(key))):
            if bound is not None:
                yield f"{number} {sign} {float(bound)!r}"


def _allowed(key: Key) -> str:
    if key.type == "enum":
        return f"one of {', '.join(key.values)}"
    bounds = ((key.above, "above {:g}"), (key.least if key.above is None else None, "{:g} or more"))
    said = [text.format(bound) for bound, text in (*bounds, (_most(key), "{:g} or less")) if bound is not None]
    return " or ".join([*key.words, ", ".join([_FORMS[key.type][1], *said])])


def _most(key: Key) -> float | None:
    """Return the upper bound, unless it is that of 64 bits: CEL's doubles cannot tell it, and 19 digits say enough."""
    return None if key.most == 2**63 - 1 else key.most


def _fits(value: str, pattern: str) -> str:
    """Return the CEL that `value` fits `pattern` whole, with space around it as the parser bears it."""
    return f"{value}.matches(r'^{_SPACE}({pattern}){_SPACE}$')"


def _given(value: str) -> str:
    """Return the CEL that `value` is not blank: the parser takes blank for absent."""
    return f"{value}.matches(r'[^\\s\\p{{Z}}]')"


def _validation(expression: str, message: str) -> dict[str, Any]:
    return {"expression": expression, "message": message, "reason": "Invalid"}
