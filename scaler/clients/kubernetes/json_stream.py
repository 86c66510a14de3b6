"""Parses answers of the Kubernetes API while they stream in, so that no page is ever in memory as a whole.

A page of 500 HelmReleases has 5 MB of text and takes 30 MB decoded; parsed object by object, it takes one network
buffer. Pure: bytes in, objects out; raises `BadAnswerError` for malformed input.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from scaler.clients.kubernetes.json_text import DECODER, BadAnswerError, JsonText

MAX_PAGE_SIZE = 2**28

EVENT_TYPES = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")

JsonObject = dict[str, Any]


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


class ListPage(JsonText):
    """Parses one page of a list: call `feed` with each piece, then `finish`; each object is passed to `keep`.

    The members of a list may be in any order: built-in kinds have `items` last, custom resources before `metadata`.
    """

    what, part = "a list", "an object"

    def __init__(self, keep: Callable[[JsonObject], None]) -> None:
        self._keep = keep
        self._size = 0
        self._objects = 0
        self._members: JsonObject = {}
        self._closed = False
        super().__init__()

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Parse the objects that `data` completes; raises `BadAnswerError` and the errors of `keep`."""
        self._size += len(data)
        if self._size > MAX_PAGE_SIZE:
            raise BadAnswerError(f"a page of more than {MAX_PAGE_SIZE >> 20} MiB, which is the limit")
        super().feed(data, final=final)

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


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a watch: `type` is one of `EVENT_TYPES`, `object` the object, bookmark or status in it."""

    type: str
    object: JsonObject


class _Line(JsonText):
    """One line of a watch."""

    part = "an event"

    def __init__(self) -> None:
        self.value: Any = None
        super().__init__()

    def _take_apart(self) -> Generator[None]:
        self.value = yield from self._value()
        while self._skip_space() == len(self._text):
            yield
        raise ValueError("text after the event")

    @property
    def is_blank(self) -> bool:
        """Whether nothing is in it so far."""
        return not self.large and self.value is None and self._skip_space() == len(self._text)


class EventLines:
    """Parses a watch, which has one event on each line."""

    def __init__(self) -> None:
        self._line = _Line()

    @property
    def large(self) -> bool:
        """Whether the object of an event is under way that is built of parts, see `JsonText.large`."""
        return self._line.large

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; raises `BadAnswerError`."""
        found = []
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._line.feed(end, final=True)
            if not self._line.is_blank:
                found.append(_event(self._line.value))
            self._line = _Line()
        self._line.feed(rest)
        return found


def decode_document(body: bytes) -> JsonObject:
    """Return the JSON object in `body`; raises `BadAnswerError`."""
    try:
        document = DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"something that is not JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise BadAnswerError("something that is no JSON object")
    return document


def _event(document: Any) -> Event:
    if document is None:
        raise BadAnswerError("something that is not JSON")
    if not isinstance(document, dict):
        raise BadAnswerError("something that is no JSON object")
    found = document.get("object")
    if not isinstance(found, dict) or document.get("type") not in EVENT_TYPES:
        raise BadAnswerError("an event of an unknown form")
    return Event(document["type"], found)
