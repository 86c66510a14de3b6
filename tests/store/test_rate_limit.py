import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.store.rate_limit import (
    MIN_RATE,
    RECOVERY_SECONDS,
    RETRIES_EARNED,
    RETRIES_PER_SECOND,
    RETRY_BURST,
    RateLimit,
)

LIMITS = st.floats(0.1, 1_000)


def rate_limit(limit: float) -> RateLimit:
    return RateLimit(limit=limit, at=0)


def retries(asked: RateLimit, now: float) -> int:
    """Retry as often as is allowed at `now`, and return how often that was."""
    asked.room(now)
    number = 0
    while asked.may_retry:
        asked.retry()
        number += 1
    return number


@given(LIMITS, st.lists(st.floats(0, 5), max_size=40))
def test_never_more_reads_begin_than_the_limit_and_one_burst_allow(limit: float, steps: list[float]) -> None:
    asked, now, begun = rate_limit(limit), 0.0, 0
    for step in steps:
        now += step
        reads = max(0, asked.room(now))
        asked.begin(reads)
        asked.end(reads)
        begun += reads
        assert begun <= max(1, limit / 4) + limit * now + 1e-6


@given(LIMITS)
def test_the_next_read_may_begin_when_it_says(limit: float) -> None:
    asked = rate_limit(limit)
    while reads := asked.room(0):
        asked.begin(reads)
        asked.end(reads)
    wait = asked.wait_seconds()
    assert asked.room(wait * 0.99) == 0
    assert asked.room(wait * 1.001) >= 1


@given(LIMITS)
def test_the_next_retry_may_begin_when_it_says(limit: float) -> None:
    asked = rate_limit(limit)
    retries(asked, 0)
    wait = asked.wait_seconds(retry=True)
    asked.room(wait * 0.99)
    assert not asked.may_retry
    asked.room(wait * 1.001)
    assert asked.may_retry
    asked = rate_limit(limit)
    asked.throttled(0)  # a retry is a read, too
    assert asked.may_retry
    assert asked.wait_seconds(retry=True) == asked.wait_seconds() > 0


def test_rest_saves_up_no_more_than_one_burst() -> None:
    asked = rate_limit(8)
    asked.begin(asked.room(0))
    asked.end(2)
    assert asked.room(1_000) == 2


def test_no_more_than_a_number_of_reads_are_under_way() -> None:
    asked = RateLimit(limit=1_000, at=0, max_in_flight=3)
    assert asked.room(0) == 3
    asked.begin(2)
    assert asked.room(10) == 1
    asked.begin()
    assert (asked.room(20), asked.is_full) == (0, True)
    asked.end(2)
    assert (asked.room(30), asked.is_full) == (2, False)


@pytest.mark.parametrize(("limit", "after"), [(200, 100), (1.5, MIN_RATE), (0.5, 0.5)])
def test_a_complaint_halves_the_rate_but_not_to_nothing(limit: float, after: float) -> None:
    asked = rate_limit(limit)
    asked.throttled(0)
    assert asked.rate == pytest.approx(after)
    assert asked.room(0) == 0


def test_complaints_about_one_burst_count_once() -> None:
    asked = rate_limit(200)
    for now in (0, 0.1, 0.9):
        asked.throttled(now)
    assert asked.rate == pytest.approx(100)
    asked.throttled(1)
    assert asked.rate == pytest.approx((100 + 200 / RECOVERY_SECONDS) / 2, rel=0.01)


@given(LIMITS, st.integers(1, 8))
def test_the_rate_recovers_within_a_minute_and_never_beyond_the_limit(limit: float, complaints: int) -> None:
    asked = rate_limit(limit)
    for now in range(complaints):
        asked.throttled(now)
    half = asked.rate
    asked.room(complaints - 1 + RECOVERY_SECONDS / 4)
    assert asked.rate == pytest.approx(min(limit, half + limit / 4))
    asked.room(complaints - 1 + RECOVERY_SECONDS)
    assert asked.rate == limit


def test_retries_that_succeed_allow_more_of_them_than_time_does() -> None:
    asked = rate_limit(100)
    assert retries(asked, 0) == RETRY_BURST
    assert retries(asked, 1) == RETRIES_PER_SECOND
    for _ in range(20):
        asked.recovered()
    assert retries(asked, 2) == 20 * RETRIES_EARNED  # time adds nothing to more than a burst
    for _ in range(1_000):
        asked.recovered()
    assert retries(asked, 3) == 100 + RETRY_BURST
    assert retries(asked, 1_000) == RETRY_BURST
