"""Parses trigger metadata into a `Trigger`; every error says how to correct it."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from pydantic import ValidationError

from scaler.core.errors import MetadataError
from scaler.sources import SOURCES, foreign_keys, wrong_types
from scaler.sources.base import NAMESPACE, Trigger

KEDA_KEYS = frozenset({"scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsClientCert", "tlsClientKey"})
"""Keys for KEDA itself, which it forwards nevertheless (KEDA pkg/scalers/external_scaler.go)."""
FROM_ENV = "FromEnv"
MAX_SHOWN = 80
MAX_PROBLEMS = 10
"""Unknown keys that are told; a search for what was meant takes 0.1 ms each."""
MAX_KEYS = 100
"""Keys among which `source` is looked for."""
LIKE = 0.75
"""Minimum similarity of a suggested key: `queueLenght` to `queueLength` 0.9, `metricName` to `metricType` 0.7."""


@cache
def keys_of(trigger: type[Trigger]) -> Mapping[str, Any]:
    """Return the metadata keys of a kind of trigger, each with its pydantic field."""
    return {str(field.alias): field for field in trigger.model_fields.values() if field.alias != NAMESPACE}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of one key; `text` says which value is wrong, and what is allowed."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


def parse(metadata: Mapping[str, str], namespace: str) -> Trigger:
    """Return the trigger that `metadata` describes, for a ScaledObject in `namespace`.

    Raises `MetadataError` that names the key, its value and what is allowed; for a misspelt key the most similar known
    one.
    """
    trigger, problems = check(metadata, namespace)
    if trigger is None:
        raise MetadataError("; ".join(map(str, problems)))
    return trigger


def check(
    metadata: Mapping[str, str], namespace: str, unresolved: Collection[str] = ()
) -> tuple[Trigger | None, tuple[Problem, ...]]:
    """Return the trigger and no problems, or None and the problems.

    `unresolved` are keys, as written, whose values are not known because KEDA takes them from the workload's
    environment. They count as set, but their values are not checked, so there may be neither a trigger nor a problem.
    """
    values, from_env, problems = _plain(metadata)
    open_keys = {key.removesuffix(FROM_ENV) for key in unresolved}
    source = SOURCES.get(values.get("source", ""))
    if source is None:
        return None, (*problems, *(() if "source" in open_keys else (_unknown_source(values, from_env),)))
    known = keys_of(source.trigger)
    unknown = [key for key in values if key not in known]
    problems += [_unknown_key(key, source.name, known) for key in unknown[:MAX_PROBLEMS]]
    if len(unknown) > MAX_PROBLEMS:
        problems.append(Problem(clipped(unknown[MAX_PROBLEMS]), f"unknown, too, as {len(unknown)} keys are in all"))
    secrets = {key: values[key] for key in from_env}
    problems += _wrong_types(values, known, secrets)
    if problems:
        return None, tuple(problems)
    given = {key: value for key, value in values.items() if key not in open_keys}
    try:
        trigger = source.trigger.model_validate({**given, NAMESPACE: namespace})
    except ValidationError as error:
        found = _problems(error, source.name, secrets)
        # A rule about several keys cannot be checked while the value of one is not known.
        return None, tuple(problem for problem in found if not open_keys or problem.key in given)
    if trigger.stale_seconds < trigger.refresh_seconds:
        text = f"{trigger.stale_seconds:g} is below refreshSeconds ({trigger.refresh_seconds:g}); a reading may not be dropped before it is refreshed"
        return None, (Problem("staleSeconds", text),)
    return trigger, ()


def _plain(metadata: Mapping[str, str]) -> tuple[dict[str, str], set[str], list[Problem]]:
    """Return the keys for the source without `FromEnv` and blank values, and which of them came from `FromEnv`."""
    values: dict[str, str] = {}
    from_env: set[str] = set()
    problems: list[Problem] = []
    for written, value in metadata.items():
        if written in KEDA_KEYS or not value.strip():
            continue
        key = written.removesuffix(FROM_ENV) if written != FROM_ENV else written
        if key != written:
            from_env.add(key)
        if key in values:
            name = clipped(key)
            problems.append(Problem(name, f"given both as {name} and as {name}{FROM_ENV}; keep one of them"))
        values[key] = value.strip()
    return values, from_env, problems


def _unknown_source(values: Mapping[str, str], from_env: set[str]) -> Problem:
    allowed = ", ".join(SOURCES)
    if "source" in values:
        value = shown(values["source"], secret="source" in from_env)
        return Problem("source", f"{value} is not a source; allowed: {allowed}")
    near = difflib.get_close_matches("source", [key[:MAX_SHOWN] for key in islice(values, MAX_KEYS)], n=1, cutoff=0.7)
    hint = f"; is {clipped(near[0])!r} meant to be it?" if near else ""
    return Problem("source", f"required, one of {allowed}{hint}")


def _unknown_key(key: str, source: str, known: Mapping[str, Any]) -> Problem:
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key[:MAX_SHOWN].lower(), folded, n=1, cutoff=LIKE)
    own = folded.get(key.lower())
    elsewhere = sorted(name for name, other in SOURCES.items() if key in keys_of(other.trigger))
    foreign = foreign_keys.hint(key, source)
    of_keda = next((name for name in sorted(KEDA_KEYS) if name.casefold() == key.casefold()), None)
    if of_keda == key:
        hint = "KEDA reads it itself, and never from the environment; write its value"
    elif own or of_keda:
        hint = f"did you mean {own or of_keda}?"
    elif foreign is not None:
        hint = foreign
    elif elsewhere:
        hint = f"it belongs to source {', '.join(elsewhere)}"
    elif near:
        hint = f"did you mean {folded[near[0]]}?"
    else:
        hint = f"known: {', '.join(known)}"
    return Problem(clipped(key), f"unknown key for source {source}; {hint}")


def _wrong_types(values: Mapping[str, str], known: Mapping[str, Any], from_env: Mapping[str, str]) -> list[Problem]:
    """Return the problems of lists and maps where several texts with commas between them are meant."""
    found = []
    for key, value in values.items():
        if key in known and wrong_types.is_list(known[key].annotation):
            secret = _is_secret(key, value, known, from_env)
            hint = wrong_types.hint(key, value, several=True, secret=secret)
            if hint is not None:
                found.append(Problem(key, f"{shown(value, secret=secret)} {hint}"))
    return found


def _problems(error: ValidationError, source: str, from_env: Mapping[str, str]) -> list[Problem]:
    """Return pydantic's findings as problems: key, value, what is allowed."""
    known = keys_of(SOURCES[source].trigger)
    problems = []
    for finding in error.errors(include_url=False):
        key = str(finding["loc"][0]) if finding["loc"] else ""
        if not key:  # a rule about several keys; its text begins with the key to correct
            said = str(finding["ctx"]["error"]) if "error" in finding.get("ctx", {}) else finding["msg"]
            key, _, text = said.partition(": ")
        elif finding["type"] == "missing":
            text = f"required for source {source}"
        else:
            secret = _is_secret(key, finding["input"], known, from_env)
            hint = wrong_types.hint(key, str(finding["input"]), several=False, secret=secret)
            text = (
                f"{shown(finding['input'], secret=secret)} {hint or 'is not allowed'}; it must be {_allowed(finding)}"
            )
        problems.append(Problem(key, text))
    return problems


def _is_secret(key: str, value: Any, known: Mapping[str, Any], from_env: Mapping[str, str]) -> bool:
    """Tell whether no part of `value` may be shown, which `key` has; `from_env` are the values of the environment."""
    extra = known[key].json_schema_extra if key in known else None
    marked = isinstance(extra, dict) and bool(extra.get("secret"))
    # A source may use the value of one key as the default of another.
    return marked or key in from_env or value in from_env.values() or _has_login(str(value))


_BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "{} or less"),
    "less_than": ("lt", "less than {}"),
    "literal_error": ("expected", "one of {}"),
    "string_pattern_mismatch": ("pattern", "text that matches {}"),
    "string_too_short": ("min_length", "at least {} characters long"),
    "value_error": ("error", "{}"),
}


def _allowed(finding: Any) -> str:
    """Return what pydantic's `finding` says is allowed."""
    if finding["type"] in _BOUNDS:
        name, text = _BOUNDS[finding["type"]]
        return text.format(finding["ctx"][name])
    return str(finding["msg"]).removeprefix("Input should be ")


def clipped(text: str) -> str:
    """Return `text` for a message: printable, and not longer than a line."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:MAX_SHOWN])
    return shown if len(text) <= MAX_SHOWN else f"{shown}… ({len(text)} characters)"


def shown(value: object, *, secret: bool = False) -> str:
    """Return `value` quoted for a message, or a mask if it is or may contain a secret."""
    text = str(value)
    if secret or _has_login(text):
        return "the value (not shown, it may hold a secret)"
    return f"'{clipped(text)}'"


def _has_login(text: str) -> bool:
    return "@" in text.partition("://")[2]  # a password that is not percent-encoded may have a slash
