"""Parses YAML within limits into a tree that knows the place and the spelling of every value.

Because of aliases and merge keys a few lines can mean billions of values. So every node counts the values, characters
and levels that it means; the counts are made while it is read, and a document beyond the limits is refused before its
data is built.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from scaler.keda.yaml_nodes import STR, Document, Mapping, Node, Scalar, Sequence

MAX_VALUES = 250_000
"""Values in one file, with aliases and merges expanded; 1,000 ScaledObjects in a `List` have 200,000."""
VALUES_A_DOCUMENT = 10
"""Each document counts as so many values, because making its parser takes as long."""
MAX_CHARACTERS = 32 * 2**20
"""Characters of all values together, with aliases expanded."""
MAX_DEPTH = 100
"""Levels of nesting; a ScaledJob with all of a pod's fields has about 20."""
MAX_NUMBER = 100
"""Characters of a number; Python needs quadratic time to parse a long one."""

MAX_PLAIN = 10_000
"""Plain scalars whose meaning is remembered."""

MAX_BROKEN = 100
"""Broken documents that are reported for one file."""

_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DIRECTIVES = re.compile(r"(?:[ \t]*(?:[#%].*)?\r?\n)*")
_KEY = re.compile(r"[A-Za-z0-9_./-]{1,80}")
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})

try:  # libyaml's parser takes a tenth of the time; PyYAML's wheels have it
    from yaml._yaml import CParser as _Parser

    _FAST = True
except ImportError:  # pragma: no cover - wheels have it
    _FAST = False

    class _Parser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            yaml.reader.Reader.__init__(self, text)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)


class LimitError(yaml.MarkedYAMLError):
    """More values, characters or levels than any manifest for Kubernetes has."""


class _Scalars(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """Scalars as in Kubernetes, where a date is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's API
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self) -> None:
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)


@dataclass(frozen=True, slots=True)
class Broken:
    """A document that cannot be read: the line, from 1, and why."""

    line: int
    problem: str


def documents(text: str) -> Iterator[Document | Broken]:
    """Yield every document of `text`, which must have no byte order mark; a broken one does not affect the others.

    A document is broken if it is malformed, has a duplicate key or a tag unknown to Kubernetes, or exceeds the limits.
    """
    composer, broken = _Composer(), 0
    for start, above, part in _parts(text):
        try:
            composer.open(part, start, above)
            while (node := composer.document()) is not None:
                yield Document(node, node.data())
        except (yaml.YAMLError, UnicodeEncodeError) as error:
            broken += 1
            if broken > MAX_BROKEN:
                yield Broken(above + 1, f"more than {MAX_BROKEN} documents are not YAML; the rest was not read")
                return
            line, problem = _problem_of(error, part)
            yield Broken(above + line, problem)
            if composer.seen > MAX_VALUES:
                return


def _parts(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the first character of each document, the number of lines before it, and its text, without parsing.

    In YAML `---` at the start of a line always begins a document.
    """
    start = above = 0
    for marker in _DOCUMENT.finditer(text):
        end = marker.start()
        if end > start and not _DIRECTIVES.fullmatch(text, start, end):
            yield start, above, text[start:end]
            above += text.count("\n", start, end)
            start = end
    yield start, above, text[start:]


def _problem_of(error: yaml.YAMLError | UnicodeEncodeError, part: str) -> tuple[int, str]:
    """Return the line of `part`, from 1, and the problem."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = "" if isinstance(error, LimitError) else "not YAML: "
        return (mark.line + 1 if mark else 1), f"{what}{(error.problem or error.context or '')[:200]}"
    if isinstance(error, yaml.reader.ReaderError):  # libyaml counts bytes
        before = part.encode(errors="replace")[: error.position] if _FAST else part[: error.position].encode()
        return before.count(b"\n") + 1, f"not YAML: {error.reason}"
    return 1, "not YAML: half of a character (a lone surrogate)"


class _Composer:
    """Makes nodes from the parser's events, one document of a file after the other."""

    def __init__(self) -> None:
        self._scalars = _Scalars()
        self._resolve: Callable[[type, str, tuple[bool, bool]], str] = self._scalars.resolve
        self._anchors: dict[str, Node | None] = {}
        self._plain: dict[
            str, tuple[str, str | float | None]
        ] = {}  # tags and values of plain scalars, mostly the same few
        self.seen = 0
        """The number of values in the file so far."""

    def open(self, part: str, start: int, above: int) -> None:
        """Begin with `part` of the text, which begins at character `start`, after `above` lines."""
        self._parser = _Parser(part)
        self._start, self._above = start, above
        self.seen += VALUES_A_DOCUMENT

    def document(self) -> Node | None:
        """Return the root of the next document, or None after the last one."""
        while not isinstance(event := self._event(), yaml.DocumentStartEvent):
            if isinstance(event, yaml.StreamEndEvent):
                return None
        self._anchors = {}
        root = self._node(self._event(), 1)
        self._event()
        return root

    def _node(self, event: Any, level: int) -> Node:
        mark = event.start_mark
        self.seen += 1
        if self.seen > MAX_VALUES:
            _refuse(mark, f"more than {MAX_VALUES:,} values in one file")
        if level > MAX_DEPTH:
            _refuse(mark, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, level)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # None until it is complete
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, level)
        else:
            node = self._mapping(event, level)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, level: int) -> Node:
        if event.anchor not in self._anchors:
            _wrong(event.start_mark, f"found undefined alias '{event.anchor[:80]}'")
        node = self._anchors[event.anchor]
        if node is None:
            _refuse(event.start_mark, "an alias to what it is a part of: nested without end")
        if level + node.depth - 1 > MAX_DEPTH:
            _refuse(event.start_mark, f"nested deeper than {MAX_DEPTH} levels by aliases")
        return node

    def _scalar(self, event: Any) -> Scalar:
        text, tag = event.value, event.tag
        if tag is None and event.implicit[0]:
            known = self._plain.get(text)
            if known is None:
                known = self._meaning(self._resolve(yaml.ScalarNode, text, event.implicit), event)
                if len(self._plain) < MAX_PLAIN and len(text) <= MAX_NUMBER:
                    self._plain[text] = known
        elif tag is None or tag == "!":
            known = STR, text
        else:
            known = self._meaning(tag, event)
        line, start, end = self._place(event)
        return Scalar(
            line, start, end, False, 1, len(text), 1, text, known[1], event.style, known[0]
        )  # keywords would take twice as long

    def _meaning(self, tag: str, event: Any) -> tuple[str, str | float | None]:
        """Return the tag and the value of a scalar with `tag`."""
        value: Any = event.value
        if tag in _NUMBERS and len(value) > MAX_NUMBER:
            _refuse(event.start_mark, f"a number with more than {MAX_NUMBER} characters")
        if tag not in {STR, _MERGE}:
            try:
                value = self._scalars.construct_object(yaml.ScalarNode(tag, value, event.start_mark))
            except (ValueError, KeyError, IndexError):  # `!!int x`, `!!bool x`
                _wrong(event.start_mark, f"this is no value of {tag[:80]}")
            self._scalars.constructed_objects.clear()
        if value is not None and not isinstance(value, str | int | float):
            _wrong(event.start_mark, f"the tag {tag[:80]} has no place here")
        return tag, value

    def _sequence(self, event: Any, level: int) -> Sequence:
        node = Sequence(*self._place(event), flow=event.flow_style)
        for part in self._within(node, yaml.SequenceEndEvent):
            item = self._node(part, level + 1)
            _add(node, item, part.start_mark)
            node.items.append(item)
        return node

    def _mapping(self, event: Any, level: int) -> Mapping:
        node = Mapping(*self._place(event), flow=event.flow_style)
        written: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for part in self._within(node, yaml.MappingEndEvent):
            key = self._node(part, level + 1)
            if not isinstance(key, Scalar):
                _wrong(part.start_mark, "a key must be plain text")
            value_event = self._event()
            value = self._node(value_event, level + 1)
            if key.tag == _MERGE:
                merged |= self._merged(value, value_event.start_mark)
            elif key.text in written:
                shown = key.text if _KEY.fullmatch(key.text) else "a key"  # it may be a URL with its password
                _wrong(part.start_mark, f"{shown} is there twice")
            else:
                written[key.text] = key, value
        node.entries = merged | written
        node.merged = frozenset(merged.keys() - written.keys())
        for key, value in node.entries.values():
            node.characters += key.characters
            _add(node, value, event.start_mark)
        return node

    def _event(self) -> Any:
        return self._parser.get_event()

    def _within(self, node: Node, end: type[yaml.Event]) -> Iterator[Any]:
        """Yield the first event of each child of `node`, and set the end of `node`."""
        while not isinstance(event := self._event(), end):
            yield event
        node.end = self._place(event)[2]

    def _place(self, event: Any) -> tuple[int, int, int]:
        """Return the fields of a node for its place in the text."""
        start, end = event.start_mark, event.end_mark
        return self._above + start.line + 1, self._start + start.index, self._start + end.index

    def _merged(self, value: Node, mark: Any) -> dict[str, tuple[Scalar, Node]]:
        """Return the entries that `<<` merges; of several mappings the first one wins."""
        parts = value.items if isinstance(value, Sequence) else [value]
        found: dict[str, tuple[Scalar, Node]] = {}
        for part in reversed(parts):
            if not isinstance(part, Mapping):
                _wrong(mark, "<< takes a mapping or a list of mappings")
            self.seen += len(part.entries)
            if self.seen > MAX_VALUES:
                _refuse(mark, f"merges take over more than {MAX_VALUES:,} values")
            found |= part.entries
        return found


def _add(node: Node, part: Node, mark: Any) -> None:
    node.values += part.values
    node.characters += part.characters
    node.depth = max(node.depth, part.depth + 1)
    if node.values > MAX_VALUES:
        _refuse(mark, f"aliases make it more than {MAX_VALUES:,} values")
    if node.characters > MAX_CHARACTERS:
        _refuse(mark, f"aliases make it more than {MAX_CHARACTERS:,} characters")


def _refuse(mark: Any, problem: str) -> NoReturn:
    raise LimitError(problem=problem, problem_mark=mark)


def _wrong(mark: Any, problem: str) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, mark)
