"""When a place is read next, as tables. All times are seconds."""

from typing import Any

import pytest

from scaler.core.domain import Reading
from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Spot
from scaler.store.due_times import DueTimes, next_due
from scaler.store.place_state import Failing, PlaceState
from scaler.store.rate_limit import RateLimit


@pytest.mark.parametrize(
    ("interval", "faults", "hinted", "now", "dice", "due"),
    [
        pytest.param(10, 0, False, 100.2, 0.0, 110, id="its interval after it began"),
        pytest.param(10, 0, False, 100.2, 1.0, 109, id="up to a tenth sooner"),
        pytest.param(1, 0, False, 103, 0.0, 103.05, id="a read as long as the interval: after a moment"),
        pytest.param(0.02, 0, False, 103, 0.0, 103.02, id="or the interval, if that is shorter"),
        pytest.param(None, 0, False, 103, 0.0, 103, id="nobody asks: at once, and it is dropped"),
        pytest.param(10, 0, True, 100.2, 0.0, 100.22, id="it may have changed meanwhile"),
        pytest.param(10, 1, True, 100.1, 0.0, 100.5, id="a fault: half a second, whatever may have changed"),
        pytest.param(10, 1, False, 100.1, 1.0, 100.45, id="up to a tenth sooner after a fault too"),
        pytest.param(10, 1, False, 103, 0.0, 103.1, id="a fault that took long"),
        pytest.param(10, 2, False, 100.1, 0.0, 101, id="twice as long each time"),
        pytest.param(10, 5, False, 100.1, 0.0, 108, id="and so on"),
        pytest.param(10, 6, False, 100.1, 0.0, 115, id="up to one and a half of its intervals"),
        pytest.param(10, 2_000, False, 100.1, 0.0, 115, id="however often it fails"),
        pytest.param(0.25, 2, False, 100.1, 0.0, 101, id="though at least a second"),
        pytest.param(0.25, 3, False, 100.1, 0.0, 101, id="which is then the longest"),
        pytest.param(60, 7, False, 100.1, 0.0, 130, id="and at most half a minute"),
    ],
)
def test_when_a_place_is_read_next(
    *, clock: ManualClock, interval: float | None, faults: int, hinted: bool, now: float, dice: float, due: float
) -> None:
    """The read before began at 100."""
    state = PlaceState(Spot("a"), ScriptedReader(clock), RateLimit(limit=1, at=0), "shop", hinted=hinted)
    if interval is not None:
        state.lease("me", interval, 1_000)
    if faults:
        state.failing = Failing(Unavailable("down"), 0, faults)
    assert next_due(state, 100, now, dice) == pytest.approx(due)


READ = {"reading": Reading(1, 999.5)}
FAILING = {**READ, "failing": Failing(Unavailable("down"), 0, 1)}
UNDER_WAY = {**READ, "started": 999.9}


@pytest.mark.parametrize(
    ("call", "interval", "was", "fields", "due"),
    [
        pytest.param("hint", 10, 1005, {}, 1000, id="hint: never read, so at once"),
        pytest.param("hint", 10, 1009.5, READ, 1000.5, id="hint: a tenth of its interval after the read before"),
        pytest.param("hint", 4, 1003.5, READ, 1000, id="hint: which is over"),
        pytest.param("hint", 0.1, 1000.1, {"reading": Reading(1, 1000)}, 1000.02, id="hint: at least a moment"),
        pytest.param(None, 0.1, 1000.1, {"reading": Reading(1, 1000)}, 1000.1, id="no hint"),
        pytest.param("hint", None, 1005, {"reading": Reading(1, 1000)}, 1000.02, id="hint: without a lease"),
        pytest.param("hint", 10, 1000.2, READ, 1000.2, id="hint: it is due before"),
        pytest.param("hint", 10, 1005, FAILING, 1005, id="hint: a pause is not shortened"),
        pytest.param("hint", 10, 1005, UNDER_WAY, 1005, id="hint: the read under way goes on"),
        pytest.param("want", 10, 1005, READ, 1000, id="want: at once"),
        pytest.param("want", 10, 1000, READ, 1000, id="want: as it is"),
        pytest.param("want", 10, 1005, FAILING, 1005, id="want: a pause is not shortened"),
        pytest.param("want", 10, 1005, UNDER_WAY, 1005, id="want: the read under way goes on"),
        pytest.param("hasten", 2, 1009.5, READ, 1001.4, id="hasten: the new interval, with jitter"),
        pytest.param("hasten", 2, 1000.2, READ, 1000.2, id="hasten: it is due before"),
        pytest.param("hasten", 2, 1005, {}, 1005, id="hasten: never read, so waiting for its first"),
        pytest.param("hasten", 2, 1005, FAILING, 1005, id="hasten: a pause is not shortened"),
        pytest.param("hasten", 2, 1005, UNDER_WAY, 1005, id="hasten: the read under way goes on"),
    ],
)
async def test_what_brings_the_next_read_forward(
    *, clock: ManualClock, call: str | None, interval: float | None, was: float, fields: dict[str, Any], due: float
) -> None:
    assert clock.now() == 1000
    taken = list[float]()
    times = DueTimes(clock, lambda: 0.5, lambda: taken.extend(clock.now() for _ in times.take_due(clock.now())))
    state = PlaceState(Spot("a"), ScriptedReader(clock), RateLimit(limit=1, at=0), "shop", **fields)
    if interval is not None:
        state.lease("me", interval, 2_000)
    times.set(state, was)
    if call == "hasten":
        times.hasten(state, 2)
    elif call is not None:
        getattr(times, call)(state)
    assert state.due == pytest.approx(due)
    assert state.hinted == (call == "hint" and state.started is not None)
    await clock.advance(10)
    assert taken == ([] if state.started is not None else [pytest.approx(due)]), "once"
    assert clock.pending == 0


async def test_after_the_end_nothing_is_due(clock: ManualClock) -> None:
    times = DueTimes(clock, lambda: 0.0, pytest.fail)
    state = PlaceState(Spot("a"), ScriptedReader(clock), RateLimit(limit=1, at=0), "shop")
    times.set(state, 1005)
    times.close()
    times.hint(state)
    times.set(state, 1001)
    await clock.advance(10)
    assert clock.pending == 0
