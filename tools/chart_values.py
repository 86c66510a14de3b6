"""The values of the chart with the comment that stands above each: one source for its schema and its README."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scaler.keda.yaml_lines import Broken, documents
from scaler.keda.yaml_nodes import Document, Path

MARK = "# -- "


@dataclass(frozen=True, slots=True)
class Value:
    """One documented value: `path` leads to it, `default` is what values.yaml has."""

    path: Path
    default: Any
    comment: str


def documented(text: str) -> tuple[Value, ...]:
    """Return the values of values.yaml that have a comment, in its order; raises `ValueError` for one that lacks it."""
    (document,) = documents(text)
    if isinstance(document, Broken):
        raise ValueError(f"values.yaml:{document.line}: {document.problem}")  # noqa: TRY004 - of a value, not of a type
    lines = text.splitlines()
    return tuple(_walk(document.data, (), document, lines))


def _walk(data: Any, path: Path, document: Document, lines: list[str]) -> Iterator[Value]:
    for key, default in data.items():
        here = (*path, key)
        number = document.line(here)
        above = lines[number - 2].strip() if number > 1 else ""
        if above.startswith(MARK):
            yield Value(here, default, above.removeprefix(MARK))
        elif isinstance(default, dict) and default:
            yield from _walk(default, here, document, lines)
        else:
            raise ValueError(f"values.yaml:{number}: {'.'.join(map(str, here))} needs a line `{MARK}…` above it")
