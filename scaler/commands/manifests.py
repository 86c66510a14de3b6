"""The manifests that a command is given: files, folders, standard input or a cluster; and which triggers are ours."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from scaler.core.errors import ScalerError
from scaler.keda.manifests import Finding, Manifests, parse
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger
from scaler.sources.triggers import FROM_ENV

EXTERNAL = frozenset({"external", "external-push"})


class InputError(ScalerError):
    """A file that was named cannot be read."""

    code = "INVALID_ARGUMENT"


def read(files: Iterable[str]) -> Manifests:
    """Return everything in `files`: paths, folders (every `.yaml` and `.yml` below), `-` for standard input.

    Raises `InputError` or `ManifestError` for what cannot be read at all.
    """
    objects: list[ScaledObject | ScaledJob] = []
    findings: list[Finding] = []
    for name, text in _texts(files):
        manifests = parse(text, name)
        objects += manifests.objects
        findings += manifests.findings
    return Manifests(tuple(objects), tuple(findings))


def _texts(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in files:
        if name == "-":
            yield "-", sys.stdin.read()
            continue
        path = Path(name)
        found = sorted(p for p in path.rglob("*") if p.suffix in {".yaml", ".yml"}) if path.is_dir() else [path]
        for each in found:
            try:
                yield str(each), each.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{each}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None


def is_ours(trigger: Trigger) -> bool:
    """Tell whether `trigger` asks this scaler: it names a source, or its address is our Service's."""
    if trigger.type not in EXTERNAL:
        return False
    known = {"source", f"source{FROM_ENV}"}
    return bool(known & trigger.metadata.keys()) or "queue-scaler" in trigger.metadata.get("scalerAddress", "")


def resolved(trigger: Trigger, env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the metadata as KEDA would send it for a container with `env`, and the variables that `env` lacks.

    KEDA keeps the suffix `FromEnv` and leaves out what is unset or empty (KEDA pkg/scalers/external_scaler.go).
    """
    sent: dict[str, str] = {}
    missing: list[str] = []
    for key, value in trigger.metadata.items():
        if not key.endswith(FROM_ENV):
            sent[key] = value
        elif env.get(value):
            sent[key] = env[value]
        else:
            missing.append(value)
    return sent, tuple(missing)
