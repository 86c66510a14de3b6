"""Changes settings in a manifest, keeping comments and order, and makes a unified diff."""

import difflib
import io
import re
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString

from scaler.keda.findings import ManifestError
from scaler.keda.scalable import ScaledObject

Path = tuple[str | int, ...]
Change = tuple[Path, Any]
_SCALARS = ("pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount")


def patched(text: str, chosen: ScaledObject, changes: Iterable[Change]) -> str:
    """Return `text`, the file with the manifest of `chosen`, with each change applied at its path in the manifest.

    Only lines with changes differ; missing parent mappings are added.
    """
    pieces = re.split(r"(?m)^(?=---(?:\s|$))", text)
    changes = list(changes)
    for number, piece in enumerate(pieces):
        head, body = _headed(piece)
        yaml = _yaml(body)
        data = yaml.load(body)
        target = _find(data, chosen)
        if target is None:
            continue
        plain = _dump(yaml, data)
        for path, value in changes:
            _set(target, path, value)
        pieces[number] = head + _carried(body, plain, _dump(yaml, data))
        return "".join(pieces)
    raise ManifestError(f"{chosen.file}: {chosen.namespace}/{chosen.name} is not found in it again")


def diff(before: str, after: str, file: str) -> str:
    """Return the diff from `before` to `after`, for `patch -p1` and `git apply`."""
    name = file.removeprefix("./").lstrip("/")
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _headed(piece: str) -> tuple[str, str]:
    """Return the line `---`, if there is one, and the rest."""
    match = re.match(r"---[ \t]*(#.*)?(\n|$)", piece)
    return (match[0], piece[match.end() :]) if match else ("", piece)


def _yaml(body: str) -> YAML:
    """Return a YAML reader and writer with the indentation of `body`."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    offset = re.search(r"(?m)^( *)(?:\w+):[ \t]*(?:#.*)?\n(?: *(?:#.*)?\n)*( *)- ", body)
    indented = offset is not None and len(offset[2]) > len(offset[1])
    nested = re.search(r"(?m)^\w+:[ \t]*(?:#.*)?\n(?: *#.*\n)*( +)[\w\"']", body)
    mapping = len(nested[1]) if nested else 2
    yaml.indent(mapping=mapping, sequence=mapping + 2 if indented else 2, offset=mapping if indented else 0)
    return yaml


def _dump(yaml: YAML, data: Any) -> str:
    written = io.StringIO()
    yaml.dump(data, written)
    return written.getvalue()


def _find(data: Any, chosen: ScaledObject) -> Any:
    """Return the manifest of `chosen` in a document, which may be a `List`."""
    if not isinstance(data, dict):
        return None
    metadata = data.get("metadata")
    if data.get("kind") == chosen.kind and isinstance(metadata, dict) and metadata.get("name") == chosen.name:
        return data if (metadata.get("namespace") or "default") == chosen.namespace else None
    items = data.get("items")
    found = (_find(item, chosen) for item in (items if isinstance(items, list) else ()))
    return next((each for each in found if each is not None), None)


def _set(target: Any, path: Path, value: Any) -> None:
    *way, key = path
    for step in way:
        if isinstance(target, list):
            target = target[int(step)]
            continue
        if target.get(step) is None:
            target[step] = CommentedMap()
        target = target[step]
    before = target.get(key)
    if isinstance(value, list):
        value = CommentedSeq(_flow(item) for item in value)
    elif "metadata" in way:
        value = type(before)(value) if isinstance(before, ScalarString) else DoubleQuotedScalarString(value)
    if before is None and (beside := _beside(target, key)) is not None:
        target.insert([*target].index(beside) + 1, key, value)
    else:
        target[key] = value


def _beside(target: Any, key: str | int) -> str | None:
    """Return the key of a spec to insert `key` after; not one followed by a comment for the next key."""
    known = [each for each in _SCALARS if each in target and target.ca.items.get(each) is None]
    return known[-1] if key in _SCALARS and known else None


def _flow(item: dict[str, Any]) -> CommentedMap:
    mapping = CommentedMap(item)
    mapping.fa.set_flow_style()
    return mapping


def _carried(original: str, plain: str, changed: str) -> str:
    """Return `original` with the lines changed that differ between `plain` and `changed`.

    `plain` is the original as the writer writes it without changes, so that its own spacing does not count as a
    difference. Changed lines get the writer's spacing.
    """
    old, base, new = (text.splitlines(True) for text in (original, plain, changed))
    where: dict[int, int] = {}
    for block in difflib.SequenceMatcher(None, base, old, autojunk=False).get_matching_blocks():
        where |= {block.a + number: block.b + number for number in range(block.size + 1)}
    result, done = [], 0
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, base, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if i1 not in where or i2 not in where or where[i2] < where[i1] or where[i1] < done:
            return changed
        result += [*old[done : where[i1]], *new[j1:j2]]
        done = where[i2]
    return "".join([*result, *old[done:]])
