import itertools

from hypothesis import given
from hypothesis import strategies as st

from scaler.answers.history import STEP_SECONDS, STEPS, History


def test_without_a_value_there_is_no_chart() -> None:
    assert History().recent(1_000) == []


def test_the_last_hour_ends_with_the_present_half_minute() -> None:
    history = History()
    history.add(100_000, 7)
    assert history.recent(100_000) == [None] * 119 + [7]
    assert history.recent(100_000 + 2 * STEP_SECONDS) == [None] * 117 + [7, None, None]
    assert history.recent(100_000 + 3_600) == [None] * 120


def test_the_newest_value_of_a_half_minute_counts() -> None:
    history = History()
    for now, value in ((0, 1), (29.9, 2), (30, 3)):
        history.add(now, value)
    assert history.recent(30)[-2:] == [2, 3]


@given(st.lists(st.tuples(st.floats(0, 2_000) | st.floats(0, 40), st.integers(0, 3)), min_size=1, max_size=60))
def test_what_was_seen_when_is_what_is_drawn(steps: list[tuple[float, int]]) -> None:
    history, seen = History(), {}
    times = list(itertools.accumulate(pause for pause, _ in steps))
    for now, (_, value) in zip(times, steps, strict=True):
        history.add(now, value)
        seen[int(now / STEP_SECONDS)] = value
        newest = int(now / STEP_SECONDS)
        assert history.recent(now) == [seen.get(slot) for slot in range(newest - STEPS + 1, newest + 1)]


def test_a_value_that_never_changes_takes_no_table() -> None:
    history = History()
    for now in range(0, 2 * 3_600, 20):
        history.add(now, 7)
    assert history.recent(now) == [7] * STEPS
    assert history._values is None
    history.add(now, 8)
    assert history.recent(now) == [7] * 119 + [8]
