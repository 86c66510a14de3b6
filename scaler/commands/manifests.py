"""Reads the manifests for a command, from files, folders or standard input; and tells which triggers are ours."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scaler.core.errors import ScalerError
from scaler.keda.findings import ManifestError, Manifests
from scaler.keda.manifests import survey
from scaler.keda.scalable import Trigger
from scaler.sources.triggers import FROM_ENV

EXTERNAL = frozenset({"external", "external-push"})
MAX_BYTES = 16 * 2**20
"""Largest file; a rendered chart with all its CRDs has 5 MiB."""
TOO_LARGE = f"larger than {MAX_BYTES // 2**20} MiB"
TEMPLATE = "{{"
_OURS = re.compile(r"""kind["']?\s*:\s*["']?(?:ScaledObject|ScaledJob|(?:Cluster)?TriggerAuthentication)""")
"""Recognized without parsing, because most YAML files of a repository have none of these, or are templates."""


def render_first(command: str) -> str:
    """Return what to do with a template of Helm before `command`; `advise` wants a file, since its patch is for one."""
    to = "> FILE, and give that FILE" if command == "advise" else f"| scaler {command} -"
    return f"it looks like a Helm template, so render it first: helm template RELEASE CHART {to}"


class InputError(ScalerError):
    """A named file cannot be read."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class File:
    """One file, as far as it can be read; a `named` one is on the command line itself, others are from folders."""

    name: str
    named: bool
    text: str = ""
    problem: str = ""
    """Why it has no text."""


def read(files: Iterable[str], command: str) -> Manifests:
    """Read everything in `files`: paths, folders (every `.yaml` and `.yml` below), `-` for standard input.

    Raises `InputError` or `ManifestError` for a named file that cannot be read, and for an object that KEDA would
    refuse; `command` is named in the advice. In folders, files that are no manifests are skipped.
    """
    parts = []
    for file in texts(files):
        if file.problem and file.named:
            raise InputError(f"{file.name}: {file.problem}")
        found = survey_file(file, command)
        for problem in (*found.refusals, *(found.unreadable if file.named else ())):
            raise ManifestError(str(problem))
        parts.append(found)
    return together(parts)


def survey_file(file: File, command: str) -> Manifests:
    """Read `file`, with a hint to render what looks like a template; returns nothing for a file without text."""
    if file.problem or not (file.named or _OURS.search(file.text)):
        return Manifests()
    found = survey(file.text, file.name)
    if TEMPLATE not in file.text:
        return found
    advice = render_first(command)
    told = (replace(problem, problem=f"{problem.problem}; {advice}") for problem in found.unreadable)
    return replace(found, unreadable=tuple(told))


def together(parts: Iterable[Manifests]) -> Manifests:
    """Merge the contents of several files."""
    parts = list(parts)
    return Manifests(
        tuple(each for part in parts for each in part.objects),
        tuple(each for part in parts for each in part.findings),
        tuple(each for part in parts for each in part.refusals),
        tuple(each for part in parts for each in part.unreadable),
        tuple(each for part in parts for each in part.authentications),
        tuple(each for part in parts for each in part.rivals),
    )


def texts(files: Iterable[str]) -> Iterator[File]:
    """Yield the files in `files`, also those in folders, each with its text or why it has none."""
    for name in files:
        if name == "-":
            yield _standard_input()
            continue
        path = Path(name)
        try:
            inside = _inside(path) if path.is_dir() else None
        except OSError as error:
            yield File(name, named=True, problem=error.strerror or "cannot be read")
            continue
        for each in [path] if inside is None else inside:
            yield _file(File(str(each), named=inside is None), each)


def _standard_input() -> File:
    try:
        text = sys.stdin.read(MAX_BYTES + 1)
    except UnicodeDecodeError:
        return File("-", named=True, problem="not UTF-8 text")
    return File("-", named=True, text=text) if len(text) <= MAX_BYTES else File("-", named=True, problem=TOO_LARGE)


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"} and not path.is_dir())


def _file(file: File, path: Path) -> File:
    try:
        with path.open("rb") as stream:
            return _decoded(file, stream.read(MAX_BYTES + 1))
    except OSError as error:
        return replace(file, problem=error.strerror or "cannot be read")


def _decoded(file: File, content: bytes) -> File:
    if len(content) > MAX_BYTES:
        return replace(file, problem=TOO_LARGE)
    try:
        return replace(file, text=content.decode())
    except UnicodeDecodeError:
        return replace(file, problem="not UTF-8 text")


def is_ours(trigger: Trigger) -> bool:
    """Tell whether `trigger` is for this scaler: it has a `source`, or its address is our Service's."""
    if trigger.type not in EXTERNAL:
        return False
    known = {"source", f"source{FROM_ENV}"}
    return bool(known & trigger.metadata.keys()) or "queue-scaler" in trigger.metadata.get("scalerAddress", "")


def resolved(trigger: Trigger, env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the metadata that KEDA would send for a container with `env`, and the variables that `env` lacks.

    KEDA keeps the suffix `FromEnv`, and drops keys whose variable is unset or empty (KEDA
    pkg/scalers/external_scaler.go).
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
