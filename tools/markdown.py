"""Markdown as the project writes it: its fenced blocks, its links, and the anchors that GitHub makes of its headings."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block without its indentation; `line` is that of its first line of text."""

    language: str
    text: str
    line: int


def blocks(page: str, language: str = "") -> Iterator[Block]:
    """Yield the fenced blocks of `page`, those of one `language` if it is given."""
    for match in _FENCE.finditer(page):
        if language in {"", match["language"]}:
            yield Block(match["language"], textwrap.dedent(match["text"]), page.count("\n", 0, match.start("text")) + 1)


def prose(page: str) -> str:
    """Return `page` without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", page))


def prose_and_code(page: str) -> str:
    """Return `page` with its fenced blocks left empty, so that each line keeps its number."""
    return _FENCE.sub(lambda match: "\n" * match[0].count("\n"), page)


def links(page: str) -> list[str]:
    """Return where the links and pictures of `page` lead."""
    return re.findall(r"\]\(<?([^)\s>]+)>?\)", prose(page))


def anchors(page: str) -> set[str]:
    """Return the anchors of the headings of `page`, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*)$", _FENCE.sub("", page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w -]", "", text.lower()).strip().replace(" ", "-")
        number = next(number for number in range(100) if f"{anchor}-{number or ''}".rstrip("-") not in found)
        found.add(f"{anchor}-{number}" if number else anchor)
    return found
