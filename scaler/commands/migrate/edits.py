"""Edits the text of a manifest: everything that is not changed stays byte for byte, comments too."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scaler.keda import yaml_nodes as nodes

_PLAIN = re.compile(r"[A-Za-z/^][A-Za-z0-9_./:@=+^$\\-]*")
_NO_TEXT = re.compile(r"(?i:true|false|yes|no|on|off|null|y|n)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#[^\r\n]*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the new metadata; `was` is the old key that it replaces, None for one that is put first."""

    key: str
    value: str
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The rewrite of a trigger; old metadata that no entry replaces is left out."""

    type: str
    metadata: tuple[Entry, ...]
    drop: frozenset[str] = frozenset()
    """Fields of the trigger to remove: `authenticationRef`, `metricType`, `useCachedMetrics`."""


class CannotEditError(Exception):
    """The manifest is written in a way that only a person should change; the message says which."""


@dataclass(slots=True)
class Editor:
    """Collects changes of a text, and applies them together."""

    text: str
    changes: list[tuple[int, int, str]] = field(default_factory=list)

    def result(self) -> str:
        """Return the changed text."""
        made, at = [], 0
        for start, end, new in sorted(self.changes):
            if start < at:
                raise CannotEditError("two changes meet at one place")
            made += [self.text[at:start], new]
            at = end
        return "".join([*made, self.text[at:]])

    def rewrite(self, trigger: nodes.Node, new: Rewrite) -> None:
        """Change one trigger."""
        whole = self._own(trigger, "the trigger")
        if "metadata" not in whole.entries:
            raise CannotEditError("the trigger has no metadata")
        metadata = self._own(whole.entries["metadata"][1], "its metadata")
        if whole.flow:
            values = {"type": self._text(whole, new.type), "metadata": self._flow_metadata(metadata, new.metadata)}
            pieces = [
                f"{self.text[key.start : key.end]}: {values[name]}" if name in values else self._piece(key, value)
                for name, (key, value) in whole.entries.items()
                if name not in new.drop
            ]
            self.changes.append((whole.start, whole.end, self._flow(whole, pieces)))
            return
        found = whole.entries["type"][1]
        if isinstance(found, nodes.Scalar) and found.value != new.type:
            self.changes.append((found.start, found.end, self._text(whole, new.type)))
        for key in new.drop & whole.entries.keys():
            self._remove(whole, key)
        if metadata.flow:
            self.changes.append((metadata.start, metadata.end, self._flow_metadata(metadata, new.metadata)))
            return
        taken = {entry.was: entry for entry in new.metadata if entry.was is not None}
        for key in metadata.entries:
            if key in taken:
                self._replace(metadata, key, taken[key])
            else:
                self._remove(metadata, key)
        self._insert(whole, metadata, [entry for entry in new.metadata if entry.was is None])

    def remove_item(self, triggers: nodes.Node, index: int) -> None:
        """Remove a trigger from its list, except the comments in it."""
        if not isinstance(triggers, nodes.Sequence):
            raise CannotEditError("the triggers are no list")
        item = triggers.items[index]
        self._own(item, "the trigger")
        if triggers.flow:
            before = triggers.items[index - 1].end  # there is one, because the first of merged triggers stays
            self.changes.append((before, item.end, ""))
            return
        start = self._line_start(item.start)
        if not self.text[start : item.start].strip(" ") == "-":
            raise CannotEditError("the trigger does not begin on a line of its own")
        self._cut_lines(start, self._line_end(_last(item)), item)

    def _own(self, node: nodes.Node, what: str) -> nodes.Mapping:
        """Return `node` as a mapping; raises `CannotEditError` if a part of it is elsewhere or shared (aliases)."""
        if not isinstance(node, nodes.Mapping):
            raise CannotEditError(f"{what} is no mapping")
        if node.merged:
            raise CannotEditError(f"{what} takes entries over by `<<`; write them out first")
        if self.text[node.start : node.start + 1] in {"&", "!"}:
            raise CannotEditError(f"{what} has an anchor that others may refer to; write it out first")
        if any(value.start < key.start for key, value in node.entries.values()):
            raise CannotEditError(f"{what} refers to an anchor; write it out first")
        return node

    @staticmethod
    def _text(mapping: nodes.Mapping, value: str) -> str:
        return written(value, json_style=_json(mapping))

    def _flow_metadata(self, mapping: nodes.Mapping, entries: Iterable[Entry]) -> str:
        new = [entry for entry in entries if entry.was is None]
        taken = {entry.was: entry for entry in entries if entry.was is not None}
        pieces = [f"{self._text(mapping, entry.key)}: {self._text(mapping, entry.value)}" for entry in new]
        for old, (key, value) in mapping.entries.items():
            if (entry := taken.get(old)) is None:
                continue
            same = entry.key == old and isinstance(value, nodes.Scalar) and value.value == entry.value
            pieces.append(
                self._piece(key, value)
                if same
                else f"{self._text(mapping, entry.key)}: {self._text(mapping, entry.value)}"
            )
        return self._flow(mapping, pieces)

    def _piece(self, key: nodes.Node, value: nodes.Node) -> str:
        return self.text[key.start : max(key.end, value.end)]

    def _flow(self, mapping: nodes.Mapping, pieces: Iterable[str]) -> str:
        """Return a mapping in braces with other entries, in its current layout."""
        inside = sorted(_spans(mapping))
        ends = [mapping.start + 1, *(end for _, end in inside)]
        starts = [*(start for start, _ in inside), mapping.end - 1]
        if any(_comments(self.text[end:start]) for end, start in zip(ends, starts, strict=True)):
            raise CannotEditError("a comment stands between braces; write it without them first")
        first = self.text[ends[0] : starts[0]]
        behind = max((max(key.end, value.end) for key, value in mapping.entries.values()), default=mapping.end - 1)
        last = self.text[behind : mapping.end - 1].replace(",", "", 1)
        return "{" + first + (f",{first}" if "\n" in first else ", ").join(pieces) + last + "}"

    def _replace(self, mapping: nodes.Mapping, key: str, entry: Entry) -> None:
        name, value = mapping.entries[key]
        if entry.key != key:
            self.changes.append((name.start, name.end, self._text(mapping, entry.key)))
        if not isinstance(value, nodes.Scalar) or value.value != entry.value:
            text = self._text(mapping, entry.value)
            block = isinstance(value, nodes.Scalar) and value.style in {"|", ">"}
            empty = value.start == value.end
            self.changes.append((value.start, value.end, f" {text}" if empty else text + "\n" * block))

    def _insert(self, whole: nodes.Mapping, mapping: nodes.Mapping, entries: Sequence[Entry]) -> None:
        """Insert `entries` first, such that a comment above the old first entry stays above it."""
        if not entries:
            return
        pairs = [(self._text(mapping, entry.key), self._text(mapping, entry.value)) for entry in entries]
        start = self._line_end(whole.entries["metadata"][0].end)
        indent = self.text[self._line_start(mapping.start) : mapping.start]
        if indent.strip(" "):
            raise CannotEditError("its metadata does not begin on a line of its own")
        newline = "\r\n" if "\r\n" in self.text else "\n"
        self.changes.append((start, start, "".join(f"{indent}{key}: {value}{newline}" for key, value in pairs)))

    def _remove(self, mapping: nodes.Mapping, key: str) -> None:
        name, value = mapping.entries[key]
        start = self._line_start(name.start)
        if not self.text[start : name.start].strip(" "):
            self._cut_lines(start, self._line_end(max(_last(value), name.end)), value)
            return
        # The first entry of a list item: the next one moves behind the dash.
        later = sorted(key.start for key, _ in mapping.entries.values() if key.start > name.start)
        if not later:
            raise CannotEditError("nothing would be left of the trigger")
        if _comments(self.text[_last(value) : later[0]]):
            raise CannotEditError("a comment stands between entries that would be joined")
        self.changes.append((name.start, later[0], ""))

    def _cut_lines(self, start: int, end: int, node: nodes.Node) -> None:
        """Remove whole lines, except the comments in them."""
        indent = re.match(" *", self.text[start:])
        spans = sorted(_spans(node))
        gaps = zip([start, *(stop for _, stop in spans)], [*(begin for begin, _ in spans), end], strict=True)
        comments = [comment for begin, stop in gaps for comment in _comments(self.text[begin:stop])]
        newline = "\r\n" if "\r\n" in self.text[start:end] else "\n"
        margin = indent[0] if indent else ""
        self.changes.append((start, end, "".join(f"{margin}{comment}{newline}" for comment in comments)))

    def _line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        """Return the beginning of the line after `at`; behind a block scalar `at` is already there."""
        if at and self.text[at - 1] == "\n":
            return at
        found = self.text.find("\n", at)
        return len(self.text) if found < 0 else found + 1


def written(value: str, *, json_style: bool) -> str:
    """Return `value` in a YAML notation for the same text."""
    plain = _PLAIN.fullmatch(value) and not value.endswith(":") and ": " not in value
    if plain and not json_style and not _NO_TEXT.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=json_style)


def _json(mapping: nodes.Mapping) -> bool:
    """Tell whether keys are quoted as in JSON."""
    return mapping.flow and any(key.style == '"' for key, _ in mapping.entries.values())


def _comments(gap: str) -> list[str]:
    return [found[0].rstrip() for found in _COMMENT.finditer(gap)]


def _spans(node: nodes.Node) -> Iterable[tuple[int, int]]:
    """Yield the places of the scalars, because a `#` in them begins no comment."""
    if isinstance(node, nodes.Mapping):
        for key, value in node.entries.values():
            yield key.start, key.end
            yield from _spans(value)
    elif isinstance(node, nodes.Sequence):
        for item in node.items:
            yield from _spans(item)
    elif node.end > node.start:
        yield node.start, node.end


def _last(node: nodes.Node) -> int:
    """Return the end of the last scalar in `node`, because a block collection ends only at the next token."""
    if isinstance(node, nodes.Mapping) and not node.flow:
        return max((max(_last(value), key.end) for key, value in node.entries.values()), default=node.end)
    if isinstance(node, nodes.Sequence) and not node.flow:
        return max((_last(item) for item in node.items), default=node.end)
    return node.end
