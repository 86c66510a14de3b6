"""Reads places when they are due and the rate limit of their backend allows it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scaler.core.clock import Clock, deadline
from scaler.core.domain import Found, Place, Reader, Report
from scaler.core.errors import Fault, Throttled, Unavailable
from scaler.core.logs import get_logger
from scaler.core.tenant import TENANT
from scaler.store.due_times import GRAIN_SECONDS, DueTimes, Together, next_due
from scaler.store.fair_queue import FairQueue
from scaler.store.place_state import PlaceState
from scaler.store.rate_limit import RateLimit

log = get_logger()

LIMITED_GRAIN_SECONDS = 0.05
"""As `GRAIN_SECONDS`, but longer, for places held back by a rate limit: they are late anyway."""
UNLIMITED = 1_000.0
"""Reads per second of a backend without a limit in the configuration."""
LOST_SECONDS = 5.0
"""How many seconds beyond the timeout of its reader a place must be late for `revive` to read it again."""


def _ignore(*_: Any) -> None:
    """Do nothing, for callbacks that are not set."""


class Schedule:
    """Reads all places when they are due: each waits in the queue of its backend until the rate limit lets it be read.

    An exception of a reader, of a value's comparison or of a callback is logged, and never keeps a leased place from
    being due again. One of a reader or a value is a fault of the place.
    """

    def __init__(self, clock: Clock, limits: Mapping[str, float], dice: Callable[[], float]) -> None:
        """Ask no backend more often than `limits` allow: reads per second by the first part of the backend's name."""
        self._clock, self._limits, self._dice = clock, dict(limits), dice
        self.states: dict[Place, PlaceState] = {}
        self.rate_limits: dict[str, RateLimit] = {}
        self.queues: dict[str, FairQueue] = {}  # due places, by backend
        self.members: dict[str, dict[Place, PlaceState]] = {}
        self.due_times = DueTimes(clock, dice, self._tick)
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_report: Callable[[Place, bool], None] = _ignore
        self.on_read: Callable[[Place, float, Fault | None, int], None] = _ignore
        self.on_drop: Callable[[str], None] = _ignore  # with the owner of a dropped place

    # Adding and dropping places

    def admit(self, place: Place, reader: Reader, owner: str) -> PlaceState:
        """Add `place`, due at once, on behalf of the namespace `owner`."""
        backend, now = place.backend, self._clock.now()
        rate_limit = self.rate_limits.get(backend)
        if rate_limit is None:
            limit = self._limits.get(backend.partition("/")[0], UNLIMITED)
            rate_limit = self.rate_limits[backend] = RateLimit(limit=limit, at=now)
        state = self.states[place] = PlaceState(place, reader, rate_limit, owner)
        self.members.setdefault(backend, {})[place] = state
        self.due_times.set(state, now)
        return state

    def _drop(self, state: PlaceState) -> None:
        place, backend = state.place, state.place.backend
        del self.states[place]
        if backend in self.queues:
            self.queues[backend].discard(state)
        del self.members[backend][place]
        if not self.states:
            self.due_times.clear()  # only superseded entries are left
        self._drop_backend(backend)
        self._call(state.reader.forget, place)
        self.on_drop(state.owner)

    def _drop_backend(self, backend: str) -> None:
        """Forget a backend without places and without reads in flight."""
        rate_limit = self.rate_limits.get(backend)
        if not self.members.get(backend) and rate_limit is not None and not rate_limit.in_flight:
            self.members.pop(backend, None)
            self.queues.pop(backend, None)
            del self.rate_limits[backend]

    # Deciding what to read

    def hint(self, place: Place) -> None:
        """Read `place` soon, because its reader says that it may have changed."""
        if (state := self.states.get(place)) is not None:
            self.due_times.hint(state)

    def _tick(self) -> None:
        """Queue the due places, drop those without a lease, and begin the reads that the rate limits allow."""
        now = self._clock.now()
        watched: dict[Reader, list[PlaceState]] = {}
        for state in self.due_times.take_due(now):
            if self.states.get(state.place) is not state or self._dropped(state, now):
                continue
            if state.is_watched:
                watched.setdefault(state.reader, []).append(state)
            else:
                self.queues.setdefault(state.place.backend, FairQueue()).add(state)
        for looked_at in watched.values():
            self._begin(looked_at, now, paced=False)
        for backend in list(self.queues):
            self._take(backend, now)

    def _dropped(self, state: PlaceState, now: float) -> bool:
        """Drop `state` if it has neither a lease nor a waiter; tell whether it was dropped."""
        if state.waiters or state.interval(now) is not None:
            return False
        self._drop(state)
        return True

    def _take(self, backend: str, now: float) -> None:
        """Begin the reads that the rate limit of `backend` allows now, in the order of its queue."""
        queue, rate_limit = self.queues[backend], self.rate_limits[backend]
        batches: dict[tuple[Reader, str], list[PlaceState]] = {}
        room = rate_limit.room(now)
        while room > 0 and (state := queue.take(failed=rate_limit.may_retry)) is not None:
            if self._dropped(state, now):
                continue
            if state.failing:
                rate_limit.retry()
            room -= 1
            together = state.reader.together
            # Places read one by one are budgeted for their namespace; a read of many counts for the owner of the first.
            batch = batches.setdefault((state.reader, "" if together else state.owner), [])
            batch.append(state)
            if together:
                self._add_siblings(batch, queue, now)
        for (reader, _), states in batches.items():
            rate_limit.begin(1 if reader.together else len(states))
            self._begin(states, now, paced=True)
        if not queue:
            self.queues.pop(backend, None)
        elif not rate_limit.is_full:  # if it is full, the end of a read wakes the schedule
            wait = rate_limit.wait_seconds(retry=queue.only_failed)
            self.due_times.wake_at(now + max(wait, LIMITED_GRAIN_SECONDS))

    def _add_siblings(self, states: list[PlaceState], queue: FairQueue, now: float) -> None:
        """Add places of the same backend to the read of `states[0]`: all that are due within half of their interval.

        Failed places are added only when their pause is over and the rate limit allows a retry.
        """
        first, members = states[0], self.members[states[0].place.backend]
        for state in members.values():
            if state is first or state.reader is not first.reader or state.started is not None:
                continue
            interval = state.interval(now)
            if interval is None:
                continue
            if state.failing:
                if state.due > now + GRAIN_SECONDS or not state.rate_limit.may_retry:
                    continue
                state.rate_limit.retry()
            elif state.due - now > interval / 2:
                continue
            states.append(state)
            queue.discard(state)

    def revive(self) -> None:
        """Read places again that are late without a reason, so that a defect loses none; to be called now and then."""
        now = self._clock.now()
        for state in list(self.states.values()):
            if state.overdue_seconds(now) <= LOST_SECONDS + state.reader.timeout_seconds:
                continue
            queue = self.queues.get(state.place.backend)
            if state.started is None and queue is not None and state in queue:
                self.due_times.wake_at(now)  # held back by the rate limit, so not lost
                continue
            log.error("a place was not read in time, and is read again", place=str(state.place))
            state.started = None  # an outcome of the old read is ignored from now on
            self.due_times.set(state, now)

    # Reading

    def _begin(self, states: list[PlaceState], now: float, *, paced: bool) -> None:
        for state in states:
            state.started, state.paced, state.hinted = now, paced, False
        task = asyncio.get_running_loop().create_task(self._read(states, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, states: list[PlaceState], began: float) -> None:
        """Read `states`; whatever happens, each of them has an outcome and a new due time in the end.

        Places of a reader that takes many at once get the same jitter, so those with equal intervals are due together
        again and take one heap entry. Others get a jitter each, so they drift apart.
        """
        first = states[0]
        reader, together = first.reader, first.reader.together
        TENANT.set(first.owner)
        waiting = {state.place: state for state in states}
        due_times: Together | None = {} if together else None
        dice, good = self._dice(), 0

        def report(place: Place, outcome: Found | Fault) -> None:
            nonlocal good
            state = waiting.pop(place, None)
            if state is None:  # it was reported before
                return
            if not together or not waiting:
                self._finish(state)
            if state.started != began:  # `revive` has given this read up
                return
            fault = self._note_outcome(state, outcome, dice if together else self._dice(), due_times)
            if together and fault is None:
                good += 1
            else:
                self._call(self.on_read, place, state.read_seconds, fault, 1)

        ended: Fault | str = "the read was stopped"
        try:
            ended = await self._ask(reader, states, report)
        finally:
            for place in list(waiting):
                report(place, ended if isinstance(ended, Fault) else Unavailable(f"{place}: {ended}"))
            if good:
                self._call(self.on_read, first.place, first.read_seconds, None, good)

    async def _ask(self, reader: Reader, states: list[PlaceState], report: Report) -> Fault | str:
        """Call `reader.read`; return why it has ended, as the fault of places that it did not report."""
        try:
            with deadline(self._clock, reader.timeout_seconds):
                await reader.read([state.place for state in states], report)
        except Fault as fault:
            return fault
        except TimeoutError:
            return f"no answer within {reader.timeout_seconds:g} s"
        except Exception as error:
            log.exception("a reader failed in an unforeseen way", backend=states[0].place.backend)
            return f"internal error {type(error).__name__}; the scaler's log says more"
        return "the read ended without an answer"

    def _finish(self, state: PlaceState) -> None:
        """Note at the rate limit that a read has ended, with `state` as its last place."""
        backend, rate_limit = state.place.backend, state.rate_limit
        if state.paced:
            if rate_limit.is_full and backend in self.queues:
                self.due_times.wake_at(self._clock.now())
            rate_limit.end()
        self._drop_backend(backend)

    def _note_outcome(
        self, state: PlaceState, outcome: Found | Fault, dice: float, together: Together | None
    ) -> Fault | None:
        """Note the outcome of a read, set the next due time, and wake the waiters; return the fault if it is one."""
        now = self._clock.now()
        started = state.started if state.started is not None else now
        state.started, state.read_seconds = None, now - started
        was_failing = state.failing is not None
        fault, news = state.note(outcome, started, now)
        if isinstance(fault, Throttled):
            state.rate_limit.throttled(now)
        elif was_failing and fault is None:
            state.rate_limit.recovered()
            self.due_times.wake_at(now)
        kept = self.states.get(state.place) is state
        if kept:
            self.due_times.set_along(state, next_due(state, started, now, dice), together)
        for waiter in state.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if kept:
            self._call(self.on_report, state.place, news)
        return fault

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call a callback of another folder; an error in it must not keep places from being read."""
        try:
            callback(*arguments)
        except Exception:
            log.exception("a callback of the store failed", callback=getattr(callback, "__qualname__", str(callback)))

    def overdue(self) -> Iterator[tuple[Place, float]]:
        """Return the places that are late by more than three of their intervals, each with the seconds that it is late.

        Changes nothing, so another thread may call it.
        """
        now = self._clock.now()
        for state in list(self.states.values()):
            seconds = state.overdue_seconds(now)
            if seconds > 3 * max(1.0, state.counted_interval or 0.0):
                yield state.place, seconds

    async def close(self) -> None:
        """Cancel all reads."""
        self.due_times.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
