"""Parses answers of the Kubernetes API while they stream in, so that no page is ever in memory as a whole.

A page of 500 HelmReleases has 5 MB of text and takes 30 MB decoded; parsed object by object, it takes one network
buffer. Pure: bytes in, objects out; raises `BadAnswerError` for malformed input.
"""

import codecs
import json
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

MAX_OBJECT_SIZE = 4 * 2**20  # etcd accepts requests of 1.5 MiB by default
MAX_PAGE_SIZE = 2**28

EVENT_TYPES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")

JsonObject = dict[str, Any]


class BadAnswerError(Exception):
    """A malformed answer; the text can follow "answered with"."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class PageEnd:
    """Metadata of a page of a list: resource version, token of the next page (empty for the last), number of objects.

    `remaining` is the number of objects after it, None if the API server does not say.
    """

    version: str
    token: str
    remaining: int | None
    objects: int


@dataclass(slots=True)
class WholeList:
    """Checks that the pages of one list belong together and that none is missing; raises `BadAnswerError` if not.

    All pages must have the resource version of the first, each except the last must have a token for the next, and
    there must be as many objects as announced (apiserver storage/etcd3/store.go; not announced with a selector).
    """

    version: str = ""
    token: str = ""
    complete: bool = False
    _left: int | None = None
    _tokens: set[str] = field(default_factory=set)

    def add(self, page: PageEnd) -> None:
        """Take the next page."""
        if self.version and page.version != self.version:
            raise BadAnswerError(f"a page at version {page.version[:40]} of a list at version {self.version[:40]}")
        if page.token in self._tokens:
            raise BadAnswerError("a page that leads back to one that was there before")
        left = None if self._left is None else self._left - page.objects
        remaining = page.remaining if page.token else page.remaining or 0
        if remaining and not page.token:
            raise BadAnswerError(f"a list that ends {remaining} objects too early")
        if left is not None and left != (left if remaining is None else remaining):
            raise BadAnswerError(
                f"a page of {page.objects} objects where {self._left} were left, and {remaining} are now"
            )
        self.version, self.token, self.complete = page.version, page.token, not page.token
        self._left = left if remaining is None else remaining
        self._tokens.add(page.token)


class ListPage:
    """Parses one page of a list: call `feed` with each piece, then `finish`; each object is passed to `keep`.

    The members of a list may be in any order: built-in kinds have `items` last, custom resources before `metadata`.
    """

    def __init__(self, keep: Callable[[JsonObject], None]) -> None:
        self._keep = keep
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._enough = 0  # characters to wait for, so that parsing a large object is not retried at every piece
        self._size = 0
        self._objects = 0
        self._members: JsonObject = {}
        self._closed = False
        self._steps = self._take_apart()

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Parse the objects that `data` completes; raises `BadAnswerError` and the errors of `keep`."""
        self._size += len(data)
        if self._size > MAX_PAGE_SIZE:
            raise BadAnswerError(f"a page of more than {MAX_PAGE_SIZE >> 20} MiB, which is the limit")
        try:
            self._text = self._text[self._at :] + self._decode.decode(data, final)
            self._at = 0
            if final or len(self._text) >= self._enough:
                next(self._steps)
        except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError too
            raise BadAnswerError(f"a list that is not JSON ({type(error).__name__})") from None
        rest = len(self._text) - self._at
        if rest > MAX_OBJECT_SIZE:
            raise BadAnswerError(f"an object of more than {MAX_OBJECT_SIZE >> 20} MiB, which is the limit, or not JSON")
        if len(self._text) >= self._enough:
            self._enough = 2 * rest

    def finish(self) -> PageEnd:
        """Return the metadata of the complete page; raises `BadAnswerError` if it is not complete."""
        self.feed(b"", final=True)
        if not self._closed:
            raise BadAnswerError("a list that breaks off or is not JSON")
        kind, metadata = self._members.get("kind"), self._members.get("metadata")
        if not isinstance(kind, str) or not kind.endswith("List") or self._members.get("items", "") is not None:
            raise BadAnswerError("something that is no list of Kubernetes objects")
        if not isinstance(metadata, dict):
            raise BadAnswerError("a list without metadata")
        version, more = metadata.get("resourceVersion"), metadata.get("continue", "")
        if not isinstance(version, str) or not version or not isinstance(more, str):
            raise BadAnswerError("a list without resourceVersion")
        remaining = metadata.get("remainingItemCount")
        if remaining is not None and (type(remaining) is not int or remaining < 0):
            raise BadAnswerError("a list whose remainingItemCount is no count")
        return PageEnd(version, more, remaining, self._objects)

    def _take_apart(self) -> Generator[None]:
        """Parse the page; yields whenever more text is needed."""
        yield from self._mark("{")
        closing = ""
        while closing != "}":
            key = yield from self._value()
            yield from self._mark(":")
            if key == "items" and (yield from self._peek()) == "[":
                yield from self._items()
                self._members[key] = None  # marks it as seen; Go sometimes writes null for an empty list
            elif key in {"items", "kind", "metadata"}:
                self._members[key] = yield from self._value()
            else:
                yield from self._value()
            closing = yield from self._mark(",}")
        self._closed = True
        while self._skip_space() == len(self._text):
            yield
        raise ValueError("text after the list")

    def _items(self) -> Generator[None]:
        closing = yield from self._mark("[")
        if (yield from self._peek()) == "]":
            closing = yield from self._mark("]")
        while closing != "]":
            item = yield from self._value()
            if not isinstance(item, dict):
                raise ValueError("an item that is no object")  # noqa: TRY004 - as for all bad JSON
            self._objects += 1
            self._keep(item)
            closing = yield from self._mark(",]")

    def _skip_space(self) -> int:
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it always matches
        return self._at

    def _peek(self) -> Generator[None, None, str]:
        while self._skip_space() == len(self._text):
            yield
        return self._text[self._at]

    def _mark(self, allowed: str) -> Generator[None, None, str]:
        found = yield from self._peek()
        if found not in allowed:
            raise ValueError("another character than JSON has here")
        self._at += 1
        return found

    def _value(self) -> Generator[None, None, Any]:
        end = -1
        while not 0 <= end < len(self._text):  # a number at the very end may continue
            if end >= 0:
                yield
            try:
                value, end = _DECODER.raw_decode(self._text, self._skip_space())
            except json.JSONDecodeError:
                end = -1
                yield
        self._at = end
        return value


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch: `type` is one of `EVENT_TYPES`, `object` the object, bookmark or status in it."""

    type: str
    object: JsonObject


@dataclass(slots=True)
class EventLines:
    """Parses a watch, which has one event on each line."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; raises `BadAnswerError`."""
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            self._rest += head
            lines = bytes(self._rest).split(b"\n")
            self._rest = bytearray(tail)
        else:
            lines = []
            self._rest += tail
        if len(self._rest) > MAX_OBJECT_SIZE:
            raise BadAnswerError(f"an event of more than {MAX_OBJECT_SIZE >> 20} MiB, which is the limit")
        return [_event(line) for line in lines if line.strip()]


def decode_document(body: bytes) -> JsonObject:
    """Return the JSON object in `body`; raises `BadAnswerError`."""
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"something that is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise BadAnswerError("something that is no JSON object")
    return document


def _event(line: bytes) -> Event:
    document = decode_document(line)
    found = document.get("object")
    if not isinstance(found, dict) or document.get("type") not in EVENT_TYPES:
        raise BadAnswerError("an event of an unknown form")
    return Event(document["type"], found)
