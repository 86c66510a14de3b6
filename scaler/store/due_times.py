"""The next date of every place, and the one timer that wakes the schedule when the first of them has come."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from scaler.core.clock import Clock, Timer
from scaler.store.place_state import PlaceState

GRAIN_SECONDS = 0.02
"""What falls due within it is read together: a process that wakes up for each of 300 reads a second does little else."""
REFRESH_JITTER = 0.1
"""A refresh begins within the last tenth of its interval, so that places read together drift apart."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
HINT_GAP_SECONDS = 0.02
"""Hints about one place make at most fifty reads a second, and at most ten in one interval."""

Together = dict[float, list[PlaceState]]
"""Places that were read together, by the date of their next read, which they share too."""


def _jittered(interval: float, dice: float) -> float:
    return interval * (1 - REFRESH_JITTER * dice)


def next_date(state: PlaceState, started: float, now: float, dice: float) -> float:
    """Return when `state`, whose last read began at `started` and has ended now, is read next; `dice` is in [0, 1).

    After a fault the pauses grow: half a second, one, two, and so on to one and a half of its intervals.
    """
    interval = state.interval(now) or 0.0
    if state.failing is not None:
        longest = min(LONGEST_PAUSE_SECONDS, max(1.0, 1.5 * interval))
        pause = min(longest, FIRST_PAUSE_SECONDS * 2 ** min(state.failing.count - 1, 10))
        return max(now + 0.1, started + _jittered(pause, dice))
    if state.hinted:
        return now + HINT_GAP_SECONDS
    return max(started + _jittered(interval, dice), now + min(interval, 0.05))


class Dates:
    """A heap of dates; a place has the one that `PlaceState.due` says, and others that were set before mean nothing."""

    def __init__(self, clock: Clock, dice: Callable[[], float], wake: Callable[[], None]) -> None:
        """Call `wake` when something is due; `dice` throws numbers in [0, 1)."""
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
        """Set it along with those of `together` that have the same date, while that date lies ahead."""
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
        """Bring the next read forward when someone new wants it sooner; never out of a pause after a fault."""
        if state.started is None and state.failing is None and state.reading is not None:
            due = state.reading.at + _jittered(interval, self._dice())
            if due < state.due:
                self.set(state, due)

    def want(self, state: PlaceState) -> None:
        """Read `state` now, for a caller who waits; never out of a pause after a fault."""
        if state.started is None and state.failing is None and state.due > self._clock.now():
            self.set(state, self._clock.now())

    def hint(self, state: PlaceState) -> None:
        """Read `state` soon: it may have changed."""
        if state.failing is not None or self._closed:
            return
        if state.started is not None:
            state.hinted = True  # what is being read may have been read before the change
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
        finally:  # an error there does not stop the clock of all places
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
        """Forget all dates."""
        self._heap.clear()

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
