"""When each place is due to be read next, and the one timer that wakes the schedule for the first of them."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from scaler.core.clock import Clock, Timer
from scaler.store.place_state import PlaceState

GRAIN_SECONDS = 0.02
"""Places due within it are read at one wake-up: at 300 reads a second, one for each would cost too much."""
REFRESH_JITTER = 0.1
"""A refresh begins at random within the last tenth of its interval, so that places read together drift apart."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
HINT_GAP_SECONDS = 0.02
"""Hints cause at most fifty reads of one place a second, and at most ten in one of its intervals."""

Together = dict[float, list[PlaceState]]
"""Places that were read together, by the due time of their next read, which they share."""


def _jittered(interval: float, dice: float) -> float:
    return interval * (1 - REFRESH_JITTER * dice)


def next_due(state: PlaceState, started: float, now: float, dice: float) -> float:
    """Return when `state`, whose last read began at `started` and ended `now`, is due next; `dice` is random in [0, 1).

    After faults the pauses double: half a second, one, two, and so on up to one and a half of its intervals.
    """
    interval = state.interval(now) or 0.0
    if state.failing is not None:
        longest = min(LONGEST_PAUSE_SECONDS, max(1.0, 1.5 * interval))
        pause = min(longest, FIRST_PAUSE_SECONDS * 2 ** min(state.failing.count - 1, 10))
        return max(now + 0.1, started + _jittered(pause, dice))
    if state.hinted:
        return now + HINT_GAP_SECONDS
    return max(started + _jittered(interval, dice), now + min(interval, 0.05))


class DueTimes:
    """A heap of due times. Only the time in `PlaceState.due` counts; older entries of the same place are skipped."""

    def __init__(self, clock: Clock, dice: Callable[[], float], wake: Callable[[], None]) -> None:
        """Call `wake` when a place is due; `dice` returns random numbers in [0, 1)."""
        self._clock, self._dice, self._wake = clock, dice, wake
        self._heap: list[tuple[float, int, Sequence[PlaceState]]] = []
        self._order = itertools.count()
        self._timer: Timer | None = None
        self._timer_at = math.inf
        self._closed = False

    def set(self, state: PlaceState, due: float) -> None:
        """Set the next read of `state` to `due`."""
        state.due = due
        self._push((state,), due)

    def set_along(self, state: PlaceState, due: float, together: Together | None) -> None:
        """Set the next read of `state` to `due`, as one heap entry with those of `together` that are due then."""
        if together is None or due <= self._clock.now() + 2 * GRAIN_SECONDS:
            self.set(state, due)
            return
        state.due = due
        others = together.setdefault(due, [])
        others.append(state)
        if len(others) == 1:
            self._push(others, due)

    def _push(self, states: Sequence[PlaceState], due: float) -> None:
        heapq.heappush(self._heap, (due, next(self._order), states))
        self.wake_at(due)

    def hasten(self, state: PlaceState, interval: float) -> None:
        """Bring the next read forward for a new lease with `interval`; a pause after a fault is not shortened."""
        if state.started is None and state.failing is None and state.reading is not None:
            due = state.reading.at + _jittered(interval, self._dice())
            if due < state.due:
                self.set(state, due)

    def want(self, state: PlaceState) -> None:
        """Make `state` due now, because a caller waits; a pause after a fault is not shortened."""
        if state.started is None and state.failing is None and state.due > self._clock.now():
            self.set(state, self._clock.now())

    def hint(self, state: PlaceState) -> None:
        """Make `state` due soon, because it may have changed."""
        if state.failing is not None or self._closed:
            return
        if state.started is not None:
            state.hinted = True  # the read under way may have seen it before the change
            return
        now = self._clock.now()
        last = -math.inf if state.reading is None else state.reading.at
        due = max(now, last + max(HINT_GAP_SECONDS, (state.interval(now) or 0.0) / 10))
        if due < state.due:
            self.set(state, due)

    def wake_at(self, when: float) -> None:
        """Call `wake` at `when` at the latest."""
        if self._closed or when >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._clock.call_at(when, self._on_time)

    def _on_time(self) -> None:
        self._timer, self._timer_at = None, math.inf
        try:
            self._wake()
        finally:  # else one error in `wake` would stop all reads for good
            if self._heap:
                self.wake_at(max(self._heap[0][0], self._clock.now()))

    def take_due(self, now: float) -> Iterator[PlaceState]:
        """Return every place that is due and not being read."""
        while self._heap and self._heap[0][0] <= now + GRAIN_SECONDS:
            due, _, states = heapq.heappop(self._heap)
            for state in states:
                if due == state.due and state.started is None:
                    yield state

    def clear(self) -> None:
        """Forget all due times."""
        self._heap.clear()

    def close(self) -> None:
        """Cancel the timer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
