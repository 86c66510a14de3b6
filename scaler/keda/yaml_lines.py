"""YAML into plain data, keeping the line of everything and the spelling of what YAML does not take for text."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; a path is the keys and indexes that lead to a value."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """The line, from 1, of every value; of an entry of a mapping, that of its key."""
    unquoted: dict[Path, str] = field(default_factory=dict)
    """The scalars that are numbers, booleans or null to YAML, as they are written."""

    def line(self, path: Path) -> int:
        """Return the line of `path`, or of the nearest thing above it that is there."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def documents(text: str) -> Iterator[Document]:
    """Yield every document of `text`.

    Raises `yaml.YAMLError` for bad YAML, a key that is there twice and tags that Kubernetes does not know.
    """
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            document = Document()
            yield replace(document, data=_plain(loader, node, (), document))
    finally:
        loader.dispose()


def _plain(loader: _Loader, node: yaml.Node, path: Path, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        _refuse_duplicates(node)
        loader.flatten_mapping(node)
        mapping = {}
        for key, value in node.value:
            document.lines[*path, key.value] = key.start_mark.line + 1
            mapping[key.value] = _plain(loader, value, (*path, key.value), document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*path, index), document) for index, item in enumerate(node.value)]
    value = loader.construct_object(node)
    if value is not None and not isinstance(value, str | int | float):
        raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag} has no place here", node.start_mark)
    if not isinstance(value, str):
        document.unquoted[path] = node.value
    return value


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    """Raise for a key that is there twice: YAML would silently keep the last."""
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
        seen.add(key.value)
