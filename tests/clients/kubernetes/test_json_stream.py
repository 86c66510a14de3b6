import itertools
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.kubernetes import json_stream, json_text
from scaler.clients.kubernetes.json_stream import BadAnswerError, Event, EventLines, ListPage, decode_document

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


def take_apart(pieces: list[bytes]) -> tuple[list[Any], str, str]:
    found: list[Any] = []
    page = ListPage(found.append)
    for piece in pieces:
        page.feed(piece)
    end = page.finish()
    return found, end.version, end.token


def cut(text: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


@given(
    items=st.lists(OBJECTS, max_size=5),
    order=st.permutations(["kind", "apiVersion", "metadata", "items", "extra"]),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    places=CUTS,
)
@settings(max_examples=100, deadline=None)
def test_list_comes_apart_wherever_it_is_cut(
    *, items: list[Any], order: list[str], indent: int | None, ascii_only: bool, places: list[int]
) -> None:
    members = {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7", "continue": "next", "remainingItemCount": 12},
        "items": items,
        "extra": 12,
    }
    text = json.dumps({key: members[key] for key in order}, indent=indent, ensure_ascii=ascii_only)

    assert take_apart(cut(text.encode(), places)) == (items, "7", "next")


WHOLE = b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"a":1},{"b":"\xc3\xa9"}]}'


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_list_that_breaks_off_is_never_a_shorter_list(length: int) -> None:
    with pytest.raises(BadAnswerError):
        take_apart([WHOLE[:length]])


@given(noise=st.binary(max_size=200), at=st.integers(0, len(WHOLE)), places=CUTS)
@settings(max_examples=300, deadline=None)
def test_noise_in_a_list_raises_nothing_else(noise: bytes, at: int, places: list[int]) -> None:
    with suppress(BadAnswerError):
        take_apart(cut(WHOLE[:at] + noise + WHOLE[at:], places))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "breaks off", id="empty"),
        pytest.param("<html>gateway</html>", "not JSON", id="HTML"),
        pytest.param("[]", "not JSON", id="array"),
        pytest.param('{"kind":"Status","metadata":{},"status":"Failure"}', "no list", id="status"),
        pytest.param('{"kind":"PodList","metadata":{"resourceVersion":"7"}}', "no list", id="no items"),
        pytest.param('{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":{}}', "no list", id="items object"),
        pytest.param('{"metadata":{"resourceVersion":"7"},"items":[]}', "no list", id="no kind"),
        pytest.param('{"kind":"PodList","metadata":{},"items":[]}', "without resourceVersion", id="no version"),
        pytest.param('{"kind":"PodList","metadata":[],"items":[]}', "without metadata", id="metadata array"),
        pytest.param('{"kind":"PodList","items":[]}', "without metadata", id="no metadata"),
        pytest.param('{"items":[1]}', "not JSON", id="item that is no object"),
        pytest.param('{"items":[{"a":NaN}]}', "not JSON", id="NaN"),
        pytest.param('{"items":[{"a":' + "9" * 5000 + "}]}", "not JSON", id="huge number"),
        pytest.param('{"items":[' + "[" * 100_000, "not JSON", id="deep"),
        pytest.param(WHOLE.decode() + "{}", "not JSON", id="two lists"),
    ],
)
def test_what_is_no_list_is_told(text: str, why: str) -> None:
    with pytest.raises(BadAnswerError, match=why):
        take_apart([text.encode()])


def test_list_without_items_is_empty_however_go_writes_it() -> None:
    head = '{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":'

    assert take_apart([f"{head}[]}}".encode()]) == take_apart([f"{head}null}}".encode()]) == ([], "7", "")


def test_objects_are_handed_on_before_the_page_is_whole() -> None:
    found: list[Any] = []
    page = ListPage(found.append)

    page.feed(b'{"items":[{"a":1},{"b":2},{"c"')

    assert found == [{"a": 1}, {"b": 2}]


def test_sizes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_VALUE_SIZE", 2**20)
    monkeypatch.setattr(json_stream, "MAX_PAGE_SIZE", 3 * 2**20)
    item = b'{"a":"' + b"x" * 900_000 + b'"},'

    with pytest.raises(BadAnswerError, match="object of more than 1 MiB"):
        take_apart([b'{"items":[{"a":"', *[b"x" * 65_536] * 17])
    with pytest.raises(BadAnswerError, match="page of more than 3 MiB"):
        take_apart([b'{"items":[', *[item] * 4])
    with pytest.raises(BadAnswerError, match="event of more than 1 MiB"):
        EventLines().feed(b"x" * (2**20 + 1))


EVENTS = [
    Event("ADDED", {"metadata": {"name": "é"}}),
    Event("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
    Event("DELETED", {}),
]


@given(places=CUTS)
@settings(deadline=None)
def test_events_come_apart_wherever_they_are_cut(places: list[int]) -> None:
    lines = "".join(json.dumps({"type": event.type, "object": event.object}) + "\n" for event in EVENTS)
    parser = EventLines()

    found = [event for piece in cut(lines.encode(), places) for event in parser.feed(piece)]

    assert found == EVENTS


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("{", "not JSON", id="cut"),
        pytest.param("\xff", "not JSON", id="no UTF-8"),
        pytest.param("7", "no JSON object", id="number"),
        pytest.param('{"type":"ADDED"}', "unknown form", id="no object"),
        pytest.param('{"type":"ADDED","object":[]}', "unknown form", id="array"),
        pytest.param('{"type":"GONE","object":{}}', "unknown form", id="unknown type"),
        pytest.param('{"type":[],"object":{}}', "unknown form", id="type that is no text"),
    ],
)
def test_line_that_is_no_event_is_told(line: str, why: str) -> None:
    with pytest.raises(BadAnswerError, match=why):
        EventLines().feed(line.encode("latin-1") + b"\n")


def test_document() -> None:
    assert decode_document(b' {"a": 1} ') == {"a": 1}
    with pytest.raises(BadAnswerError, match="no JSON object"):
        decode_document(b"[]")
