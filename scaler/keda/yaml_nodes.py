"""A tree of YAML nodes with their places in the text; aliases share their node."""

from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
STR = "tag:yaml.org,2002:str"


@dataclass(slots=True, eq=False)
class Node:
    """One value, from character `start` up to `end` of the text, on `line` (from 1)."""

    line: int
    start: int
    end: int
    flow: bool = False
    """Whether a collection is written in brackets, as in JSON."""
    values: int = 1
    characters: int = 0
    depth: int = 1

    def data(self) -> Any:
        """Return it as plain data."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Scalar(Node):
    """A text, number, boolean or null, with its spelling."""

    text: str = ""
    value: str | float | None = ""
    style: str | None = None
    """How it is quoted: None, `'`, `"`, `|` or `>`."""
    tag: str = STR

    def data(self) -> Any:
        """Return the value."""
        return self.value


@dataclass(slots=True, eq=False)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)

    def data(self) -> Any:
        """Return a list."""
        return [item.data() for item in self.items]


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """A mapping; `entries` has the keys merged by `<<` first, then its own."""

    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    merged: frozenset[str] = frozenset()

    def data(self) -> Any:
        """Return a dict."""
        return {key: value.data() for key, (_, value) in self.entries.items()}


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; a path is the keys and indexes that lead to a value."""

    root: Node
    data: Any

    def node(self, path: Path) -> Node | None:
        """Return the node at `path`, or None."""
        found = self._walk(path)
        return found[1] if found[2] else None

    def line(self, path: Path) -> int:
        """Return the line of `path`, from 1, or of its nearest existing parent; for a mapping entry that of its key."""
        return self._walk(path)[0]

    def unquoted(self, path: Path) -> str | None:
        """Return the spelling of a number, boolean or null at `path`; None for anything else."""
        node = self.node(path)
        return node.text if isinstance(node, Scalar) and not isinstance(node.value, str) else None

    def _walk(self, path: Path) -> tuple[int, Node, bool]:
        line, node = self.root.line, self.root
        for step in path:
            if isinstance(node, Mapping) and step in node.entries:
                key, node = node.entries[str(step)]
                line = key.line
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line = node.line
            else:
                return line, node, False
        return line, node, True
