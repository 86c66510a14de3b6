"""The reference page of all trigger metadata, from the models of the sources."""

from collections.abc import Iterable

from scaler.sources import SOURCES
from scaler.sources.triggers import KEDA_KEYS
from tools.keys import COMMON, Key, own_keys

_HEAD = """\
# Trigger metadata

Generated from the models of the sources by `python -m tools`; not to be edited.

Every value is text to KEDA, so numbers and booleans go in quotes. A blank value counts as absent, and any key that is
not listed is an error. `scaler validate FILE…` checks manifests without a cluster; the chart's
`admissionPolicy.enabled` has the cluster check what it can.

Every key may also be written `KEYFromEnv`. Its value is then the name of an environment variable of the scale target's
container; KEDA sends the variable's value, and leaves the key out where the variable is unset or empty. A key given
both ways is an error. The value travels to the scaler in every call, so use TLS for one that holds a password.

KEDA reads {keda_keys} itself; the scaler ignores them.

Lists are separated by commas and hold at most 200 items. Times are in seconds.
"""


def render() -> str:
    """Return the page."""
    parts = [
        _HEAD.format(keda_keys=", ".join(f"`{key}`" for key in sorted(KEDA_KEYS))),
        "## Every source",
        _table(COMMON),
    ]
    for name, source in SOURCES.items():
        summary = (source.trigger.__doc__ or "").strip().splitlines()[0]
        parts += [f"## `{name}`", summary, _table(own_keys(source.trigger))]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{key.name}` | {_value(key)} | {_default(key)} | {key.description.replace('|', chr(92) + '|')} |"
        for key in keys
    ]
    return "\n".join(rows)


def _value(key: Key) -> str:
    if key.name == "source":
        return ", ".join(f"`{name}`" for name in SOURCES)
    if key.type == "enum":
        return ", ".join(f"`{value}`" for value in key.values)
    if key.type == "boolean":
        return "`true`, `false`"
    if key.type not in {"integer", "number"}:
        return key.type
    bounds = []
    if key.above is not None:
        bounds.append(f"above {key.above:g}")
    elif key.least is not None:
        bounds.append(f"{key.least:g} or more")
    if key.most is not None and key.most < 2**63 - 1:
        bounds.append(f"{key.most:g} or less" if key.most < 1e6 else f"{key.most:.0e} or less")
    return ", ".join([*(f"`{word}`" for word in key.words), key.type, *bounds])


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.default is None or key.default == "":
        return ""
    value = str(key.default).lower() if isinstance(key.default, bool) else key.default
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
