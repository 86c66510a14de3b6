"""When each place is read: due dates, the turn of each backend, pauses after faults, and the reads themselves."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scaler.core.clock import Clock, deadline
from scaler.core.domain import Found, Place, Reader, Report
from scaler.core.errors import Fault, Throttled, Unavailable
from scaler.core.logs import get_logger
from scaler.core.tenant import TENANT
from scaler.store.dates import GRAIN_SECONDS, Dates, Together, next_date
from scaler.store.fair_queue import FairQueue
from scaler.store.place_state import PlaceState
from scaler.store.rate_limit import RateLimit

log = get_logger()

LIMITED_GRAIN_SECONDS = 0.05
"""What waits for the rate of its backend is late anyway, and is begun in larger lots than what is in time."""
UNLIMITED = 1_000.0
"""Reads per second of a backend whose kind has no limit in the configuration."""
LOST_SECONDS = 5.0
"""How late a place is, beyond every reason to be late, when `revive` takes it for lost."""


def _ignore(*_: Any) -> None:
    """Take no notice."""


class Schedule:
    """Keeps the due dates of all places; what is due waits for the turn of its backend, then its reader reads it.

    Whatever is raised by a reader, a source's values or a callback is logged and counts as a fault of the place: no
    place that is leased is ever without a next date.
    """

    def __init__(self, clock: Clock, limits: Mapping[str, float], dice: Callable[[], float]) -> None:
        """Ask no backend more often than `limits` allow: reads per second by the first part of the backend's name."""
        self._clock, self._limits, self._dice = clock, dict(limits), dice
        self.states: dict[Place, PlaceState] = {}
        self.rate_limits: dict[str, RateLimit] = {}
        self.queues: dict[str, FairQueue] = {}  # due, but waiting for the rate of its backend
        self.members: dict[str, dict[Place, PlaceState]] = {}
        self.dates = Dates(clock, dice, self._tick)
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_report: Callable[[Place, bool], None] = _ignore
        self.on_read: Callable[[Place, float, Fault | None, int], None] = _ignore
        self.on_drop: Callable[[str], None] = _ignore  # with the namespace whose turns the place was on

    # Who is in

    def admit(self, place: Place, reader: Reader, owner: str) -> PlaceState:
        """Take `place` in, to be read at once, on the turns of the namespace `owner`."""
        backend, now = place.backend, self._clock.now()
        rate_limit = self.rate_limits.get(backend)
        if rate_limit is None:
            limit = self._limits.get(backend.partition("/")[0], UNLIMITED)
            rate_limit = self.rate_limits[backend] = RateLimit(limit=limit, at=now)
        state = self.states[place] = PlaceState(place, reader, rate_limit, owner)
        self.members.setdefault(backend, {})[place] = state
        self.dates.set(state, now)
        return state

    def _drop(self, state: PlaceState) -> None:
        place, backend = state.place, state.place.backend
        del self.states[place]
        if backend in self.queues:
            self.queues[backend].discard(state)
        del self.members[backend][place]
        if not self.states:
            self.dates.clear()  # of dates that others have superseded
        self._drop_backend(backend)
        self._call(state.reader.forget, place)
        self.on_drop(state.owner)

    def _drop_backend(self, backend: str) -> None:
        """Forget a backend without places, once nothing is under way there."""
        rate_limit = self.rate_limits.get(backend)
        if not self.members.get(backend) and rate_limit is not None and not rate_limit.in_flight:
            self.members.pop(backend, None)
            self.queues.pop(backend, None)
            del self.rate_limits[backend]

    # When to read

    def hint(self, place: Place) -> None:
        """Read `place` soon: its reader has heard that it may have changed."""
        if (state := self.states.get(place)) is not None:
            self.dates.hint(state)

    def _tick(self) -> None:
        """Queue what is due at its backend, drop what nobody asks for, and begin the reads that may begin."""
        now = self._clock.now()
        watched: dict[Reader, list[PlaceState]] = {}
        for state in self.dates.take_due(now):
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
        """Drop `state` if nobody asks for it any more; tell whether that was so."""
        if state.waiters or state.interval(now) is not None:
            return False
        self._drop(state)
        return True

    def _take(self, backend: str, now: float) -> None:
        """Begin the reads that `backend` may be asked for now, in the order of their turns."""
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
            # What is read one by one is budgeted for its tenant; one read for all counts for whoever is first.
            batch = batches.setdefault((state.reader, "" if together else state.owner), [])
            batch.append(state)
            if together:
                self._add_siblings(batch, queue, now)
        for (reader, _), states in batches.items():
            rate_limit.begin(1 if reader.together else len(states))
            self._begin(states, now, paced=True)
        if not queue:
            self.queues.pop(backend, None)
        elif not rate_limit.is_full:  # else the end of a read makes room
            wait = rate_limit.wait_seconds(retry=queue.only_failed)
            self.dates.wake_at(now + max(wait, LIMITED_GRAIN_SECONDS))

    def _add_siblings(self, states: list[PlaceState], queue: FairQueue, now: float) -> None:
        """Add to the first of `states` what one read can fetch along: all that is due within half of its interval.

        What has failed goes along when its pause is over, and as far as its backend may be asked in vain.
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
        """Give a date to every place that has none, whatever the reason; to be called now and then."""
        now = self._clock.now()
        for state in list(self.states.values()):
            if state.overdue_seconds(now) <= LOST_SECONDS + state.reader.timeout_seconds:
                continue
            queue = self.queues.get(state.place.backend)
            if state.started is None and queue is not None and state in queue:
                self.dates.wake_at(now)  # it waits for the rate of its backend
                continue
            log.error("a place was not read in time, and is read again", place=str(state.place))
            state.started = None  # should its read end after all, that counts no more
            self.dates.set(state, now)

    # Reading

    def _begin(self, states: list[PlaceState], now: float, *, paced: bool) -> None:
        for state in states:
            state.started, state.paced, state.hinted = now, paced, False
        task = asyncio.get_running_loop().create_task(self._read(states, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, states: list[PlaceState], began: float) -> None:
        """Read `states`; whatever happens, each of them has an outcome and a next date in the end.

        What is read together is due together again: one throw of the dice for all, and so one date for equal
        intervals, and one look at the counters. What was only begun together drifts apart.
        """
        first = states[0]
        reader, together = first.reader, first.reader.together
        TENANT.set(first.owner)
        waiting = {state.place: state for state in states}
        dates: Together | None = {} if together else None
        dice, good = self._dice(), 0

        def report(place: Place, outcome: Found | Fault) -> None:
            nonlocal good
            state = waiting.pop(place, None)
            if state is None:  # a second report
                return
            if not together or not waiting:
                self._finish(state)
            if state.started != began:  # it was given up as lost
                return
            fault = self._settle(state, outcome, dice if together else self._dice(), dates)
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
        """Let `reader` read; return why it has ended, for the places that it did not report."""
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
        """Make room at the backend: a read has ended, of `state` alone, or of many with it as the last."""
        backend, rate_limit = state.place.backend, state.rate_limit
        if state.paced:
            if rate_limit.is_full and backend in self.queues:
                self.dates.wake_at(self._clock.now())
            rate_limit.end()
        self._drop_backend(backend)

    def _settle(
        self, state: PlaceState, outcome: Found | Fault, dice: float, together: Together | None
    ) -> Fault | None:
        """Note what a read brought, set the date of the next, and tell whoever waits; return the fault, if it is one."""
        now = self._clock.now()
        started = state.started if state.started is not None else now
        state.started, state.read_seconds = None, now - started
        was_failing = state.failing is not None
        fault, news = state.note(outcome, started, now)
        if isinstance(fault, Throttled):
            state.rate_limit.throttled(now)
        elif was_failing and fault is None:
            state.rate_limit.recovered()
            self.dates.wake_at(now)
        held = self.states.get(state.place) is state
        if held:
            self.dates.set_along(state, next_date(state, started, now, dice), together)
        for waiter in state.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if held:
            self._call(self.on_report, state.place, news)
        return fault

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call what belongs to other rooms; a defect there does not keep places from being read."""
        try:
            callback(*arguments)
        except Exception:
            log.exception("a callback of the store failed", callback=getattr(callback, "__qualname__", str(callback)))

    def overdue(self) -> Iterator[tuple[Place, float]]:
        """Return the places that are late by more than three of their intervals, and by how many seconds.

        Changes nothing, so another thread may ask.
        """
        now = self._clock.now()
        for state in list(self.states.values()):
            seconds = state.overdue_seconds(now)
            if seconds > 3 * max(1.0, state.counted_interval or 0.0):
                yield state.place, seconds

    async def close(self) -> None:
        """Stop reading."""
        self.dates.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
