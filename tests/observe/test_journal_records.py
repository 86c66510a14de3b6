"""How events are packed and thinned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.observe.journal import records
from scaler.observe.journal.records import (
    ACTIVE,
    ASKED,
    DAY,
    ERROR,
    FLAG,
    INACTIVE,
    RECORD_BYTES,
    STREAM,
    VALUE,
    Record,
    fit,
    pack,
    thin,
    track,
    unpack,
)
from scaler.observe.journal.view import course, within

HOUR = 36_000
CODES = [ACTIVE, INACTIVE, ERROR, VALUE, VALUE + FLAG, records.FAULT, records.HEALED, STREAM, ASKED]
events = st.lists(st.tuples(st.integers(0, 2 * DAY), st.sampled_from(CODES), st.integers(0, 1_000)), max_size=200).map(
    sorted
)


def packed(*noted: tuple[int, int, float]) -> bytes:
    return b"".join(pack(*each) for each in noted)


def test_a_record_takes_nine_bytes_and_comes_back() -> None:
    assert RECORD_BYTES == 9
    (record,) = unpack(pack(864_000, VALUE + 3 * FLAG, 12.5))
    assert (record.at, record.kind, record.flag, record.number) == (864_000, VALUE, 3, 12.5)


def test_a_young_step_keeps_the_highest_and_the_last() -> None:
    noted = packed((0, VALUE, 1), (10, VALUE, 90), (20, VALUE, 5), (30, VALUE, 0), (160, VALUE, 2))
    assert [record.number for record in unpack(thin(noted, 200))] == [90, 0, 2]


@pytest.mark.parametrize(("age", "kept"), [(0, 240), (HOUR, 61), (6 * HOUR, 14), (DAY, 1)])
def test_values_are_thinned_with_age(age: int, kept: int) -> None:
    noted = packed(*((at, VALUE, at) for at in range(0, HOUR, 150)))  # rising, so that the last is the highest
    assert len(list(unpack(thin(noted, HOUR - 150 + age)))) == pytest.approx(kept, abs=2)


@given(events, st.integers(0, DAY))
def test_thinning_keeps_the_newest_of_each_track_and_the_peaks(noted: list[tuple[int, int, int]], wait: int) -> None:
    now = max((at for at, _, _ in noted), default=0) + wait
    before, after = list(unpack(packed(*noted))), list(unpack(thin(packed(*noted), now)))
    assert set(after) <= set(before)
    assert after == sorted(after, key=lambda record: record.at)
    newest = {track(record.code): record for record in before}
    assert {track(record.code): record for record in after} == newest
    young = [record for record in before if record.code == VALUE and now - record.at < DAY]
    if young:
        assert max(record.number for record in after if record.code == VALUE) >= max(each.number for each in young)
    assert thin(thin(packed(*noted), now), now) == thin(packed(*noted), now)


@given(events, st.integers(0, 100))
def test_whatever_there_is_fits(noted: list[tuple[int, int, int]], room: int) -> None:
    now = max((at for at, _, _ in noted), default=0)
    fitted, since = fit(packed(*noted), now, room * RECORD_BYTES)
    tracks = {track(code) for _, code, _ in noted}
    assert len(fitted) <= max(room, len(tracks)) * RECORD_BYTES
    assert {track(record.code) for record in unpack(fitted)} == tracks
    assert since is None or since <= now


def test_what_holds_when_a_time_begins_comes_with_it() -> None:
    noted = packed((0, ACTIVE, 0), (0, VALUE, 7), (5, ERROR, 0), (9, STREAM, 1), (20, ACTIVE, 0), (20, VALUE, 8))
    assert [tuple(record)[:2] for record in within(noted, 10, 100)] == [
        (5, ERROR),
        (9, STREAM),
        (20, ACTIVE),
        (20, VALUE),
    ]
    assert within(noted, 10, 15) == [Record(5, ERROR, 0), Record(9, STREAM, 1)]


def test_a_course_has_gaps_where_nothing_is_known() -> None:
    noted = [
        Record(0, VALUE, 3),
        Record(9_000, ERROR, 0),
        Record(18_000, VALUE, 5),
        Record(30_000, ASKED, 600),
    ]
    values = course(noted, 36_000, 33_000)
    assert len(values) == 120
    assert values[:29] == [3] * 29
    assert values[29:59] == [None] * 30  # an error tells no value
    assert values[59:79] == [5] * 20
    assert values[79:99] == [None] * 20  # KEDA did not ask
    assert values[99:109] == [5] * 10
    assert values[109:] == [None] * 11  # and has not asked since


@pytest.mark.parametrize("number", [1e39, 1e300])
def test_a_number_of_any_size_is_packed(number: float) -> None:
    (record,) = unpack(pack(0, VALUE, number))
    assert 1e38 < record.number < 1e39
