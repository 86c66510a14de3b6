import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scaler.sources.redis_places import parse_time
from scaler.sources.sidekiq.info import MAX_COUNT
from scaler.sources.sidekiq.state import (
    Process,
    parse_due,
    parse_length,
    parse_members,
    parse_oldest,
    parse_process,
    with_jobs,
)
from tests.sources.sidekiq.conftest import HERE, IDENTITY, INFO, NOW


def process(fields: Any, pttl: int = 59_000, jobs: Any = None) -> Process | None:
    found = parse_process(IDENTITY, fields, pttl, NOW)
    return found if found is None or jobs is None else with_jobs(found, jobs)


anything = st.recursive(
    st.none() | st.integers() | st.floats() | st.binary(max_size=40) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=6),
    max_leaves=10,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from([*INFO, "capsules", "weights", "version"])
infos = st.dictionaries(keys, json_values, max_size=8).map(lambda info: json.dumps({**INFO, **info}).encode())


field = st.none() | st.binary(max_size=12)
heartbeats = st.tuples(infos | st.binary(max_size=60), field, field, field, field)


@given(heartbeats, st.integers(-2, 60_000))
def test_no_heartbeat_makes_a_number_out_of_nothing(fields: tuple[bytes | None, ...], pttl: int) -> None:
    found = process(list(fields), pttl)
    if found is not None:
        assert found.busy is None or found.busy == int(fields[1] or b"x")
        assert found.concurrency is None or 1 <= found.concurrency <= MAX_COUNT * 10


@given(anything, anything, anything)
def test_answers_of_any_shape_are_understood_or_refused(one: Any, two: Any, three: Any) -> None:
    for parse in (
        lambda: process(one, two, three),
        lambda: parse_members(one),
        lambda: parse_length(one),
        lambda: parse_time(one),
        lambda: parse_oldest(one, HERE),
        lambda: parse_due([(one, 500), (two, 500)], HERE),
    ):
        try:
            parse()
        except (ValueError, TypeError, OverflowError):
            continue


@given(st.lists(st.tuples(st.binary(max_size=30), st.floats(allow_nan=False)), max_size=20))
def test_no_due_job_is_dropped(entries: list[tuple[bytes, float]]) -> None:
    answer = [part for job, score in entries for part in (job, repr(score).encode())]
    due = parse_due([(answer, 500), ([], 500)], HERE)
    assert sorted(time for times in due.times.values() for time in times) == sorted(score for _, score in entries)
