"""Values that are too large to be decoded whole come out the same, wherever they are cut, and whatever is in them."""

import itertools
import json
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.kubernetes import json_text
from scaler.clients.kubernetes.json_stream import EventLines
from scaler.clients.kubernetes.json_text import BadAnswerError, JsonText

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


class OneValue(JsonText):
    """A text that is one value."""

    def _take_apart(self) -> Generator[None]:
        self.value = yield from self._value()
        while self._skip_space() == len(self._text):
            yield
        raise ValueError("text after it")


def taken(text: bytes, places: list[int]) -> OneValue:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    made = OneValue()
    for start, end in itertools.pairwise(bounds):
        made.feed(text[start:end])
    made.feed(b"", final=True)
    return made


@pytest.fixture(autouse=True, scope="module")
def in_parts() -> Generator[None]:
    """Take what is longer than three characters for large, and let two levels at most be flat."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "WHOLE_SIZE", 3)
        yield


@given(value=VALUES, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), places=CUTS)
@settings(max_examples=200, deadline=None)
def test_value_is_what_the_decoder_makes_of_it(
    *, value: Any, indent: int | None, ascii_only: bool, places: list[int]
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    assert taken(text.encode(), places).value == json.loads(text)


@given(text=st.text(alphabet='[]{}:,"\\ 1a\n-', max_size=30), places=CUTS)
@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
def test_text_is_refused_where_the_decoder_refuses_it(text: str, places: list[int]) -> None:
    try:
        wanted = json.loads(text)
    except ValueError:
        with suppress(BadAnswerError):
            assert not hasattr(taken(text.encode(), places), "value")
    else:
        assert taken(text.encode(), places).value == wanted


@pytest.mark.parametrize("depth", [9, 1_500, 9_000])
def test_nothing_is_too_deep(depth: int) -> None:
    value = taken(b'{"a":[' * depth + b"7" + b"]}" * depth, [100, 5_000]).value

    for _ in range(depth):
        (value,) = value["a"]
    assert value == 7


def test_large_objects_of_a_watch_are_known_while_they_come() -> None:
    lines, found = EventLines(), []
    event = b'{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":[' + b"[]," * 40_000 + b"[]]}}\n"
    larges = []
    for at in range(0, len(event), 4_096):
        found += lines.feed(event[at : at + 4_096])
        larges.append(lines.large)

    assert found[0].object["spec"] == [[]] * 40_001
    assert all(larges[8:-1])
    assert not lines.large
