"""When a place is read next, as a table. The read before began at 100; all times are seconds."""

import pytest

from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Spot
from scaler.store.due_times import next_due
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
    state = PlaceState(Spot("a"), ScriptedReader(clock), RateLimit(limit=1, at=0), "shop", hinted=hinted)
    if interval is not None:
        state.lease("me", interval, 1_000)
    if faults:
        state.failing = Failing(Unavailable("down"), 0, faults)
    assert next_due(state, 100, now, dice) == pytest.approx(due)
