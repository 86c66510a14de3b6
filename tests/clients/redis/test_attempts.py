import pytest

from scaler.clients.redis.attempts import (
    HOST_AT_ONCE,
    HOST_PER_SECOND,
    LONGEST_PAUSE_SECONDS,
    LONGEST_REFUSED_PAUSE_SECONDS,
    Attempts,
)
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.clock import ManualClock

DOWN, WRONG = Unavailable("down"), Refused("wrong password")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def tried(clock: ManualClock, fault: Fault, *, identities: int, seconds: int) -> list[int]:
    """Return how many attempts are made in each second by so many identities that ask ten times a second and fail."""
    attempts, made = Attempts(clock), [0] * seconds
    for second in range(seconds):
        for _ in range(10):
            for identity in range(identities):
                try:
                    attempts.check("host", identity)
                except Fault:
                    continue
                made[second] += 1
                attempts.failed("host", identity, fault)
            await clock.advance(0.1)
    return made


async def test_one_that_fails_pauses_ever_longer(clock: ManualClock) -> None:
    made = await tried(clock, DOWN, identities=1, seconds=60)
    assert made[0] == 3  # the first, one at once, one after half a second
    assert 60 / LONGEST_PAUSE_SECONDS - 2 <= sum(made[5:]) <= 60 / LONGEST_PAUSE_SECONDS
    made = await tried(clock, WRONG, identities=1, seconds=120)
    assert sum(made[60:]) == 60 / LONGEST_REFUSED_PAUSE_SECONDS


async def test_300_that_fail_share_a_few_attempts(clock: ManualClock) -> None:
    for fault in (DOWN, WRONG):
        made = await tried(clock, fault, identities=300, seconds=60)
        assert made[0] <= 300 + HOST_AT_ONCE + HOST_PER_SECOND  # each once, since nothing is known of it
        assert max(made[1:]) <= HOST_PER_SECOND + HOST_AT_ONCE
        assert sum(made[1:]) <= 59 * HOST_PER_SECOND + HOST_AT_ONCE


async def test_who_does_not_fail_is_not_held_up_by_the_others(clock: ManualClock) -> None:
    attempts = Attempts(clock)
    for identity in range(300):
        attempts.failed("host", identity, WRONG)
        attempts.failed("host", identity, WRONG)
    attempts.check("host", "good")
    attempts.check("other", 1)
    with pytest.raises(Refused, match="wrong password"):
        attempts.check("host", 1)


async def test_host_that_is_back_is_back_for_all_who_could_not_reach_it(clock: ManualClock) -> None:
    attempts = Attempts(clock)
    for identity in range(300):
        for _ in range(6):
            attempts.failed("host", identity, DOWN if identity else WRONG)
    attempts.worked("host", "good")
    for identity in range(1, 300):
        attempts.check("host", identity)
    with pytest.raises(Refused):
        attempts.check("host", 0)


async def test_success_and_leaving_are_forgotten(clock: ManualClock) -> None:
    attempts = Attempts(clock)
    for end in (attempts.worked, attempts.forget):
        attempts.failed("host", 1, DOWN)
        attempts.failed("host", 1, DOWN)
        with pytest.raises(Unavailable):
            attempts.check("host", 1)
        end("host", 1)
        attempts.check("host", 1)
    assert not attempts._hosts
