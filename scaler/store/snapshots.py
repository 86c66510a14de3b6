"""The face of the store: lease a place, get its reading, wait for one, and look at its state."""

import asyncio
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from scaler.core.clock import Clock
from scaler.core.domain import Place, Proof, Reader, Reading
from scaler.core.errors import Fault, Unavailable
from scaler.core.quota import Quota
from scaler.store.place_state import PlaceState
from scaler.store.schedule import Schedule


@dataclass(frozen=True, slots=True)
class PlaceStatus:
    """The state of one place, for people; times are in seconds."""

    place: Place
    age: float | None
    fault: Fault | None
    fault_seconds: float
    failures: int
    lessees: int
    interval: float | None
    read_seconds: float
    overdue_seconds: float
    proof: Proof | None


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """The load of one backend; `lag_seconds` is how long the rate limit has held back the place that waits longest."""

    backend: str
    limit: float
    rate: float
    in_flight: int
    places: int
    waiting: int
    lag_seconds: float


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Snapshots:
    """Keeps one reading for each leased place.

    While a lease lasts, the place is refreshed in the background. `current` returns its reading, and `wait` waits for
    one. All methods belong to one event loop, unless they say otherwise.
    """

    def __init__(
        self,
        readers: Iterable[Reader],
        clock: Clock,
        *,
        limits: Mapping[str, float] | None = None,
        max_places: int = 50_000,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """Read with `readers`; `limits` are reads per second at each backend, by the first part of its name."""
        self._readers = {kind: reader for reader in readers for kind in reader.kinds}
        self._clock, self._quota = clock, Quota(max_places, "limits.maxPlaces")
        self._schedule = Schedule(clock, limits or {}, dice)
        self._schedule.on_drop = self._quota.give_back
        self._states = self._schedule.states
        for reader in set(self._readers.values()):
            reader.listen(self._schedule.hint)

    def observe(self, on_read: Callable[[Place, float, Fault | None, int], None]) -> None:
        """Call `on_read` after every read with the place, the seconds that it took, its fault if any, and 1.

        For places that were read well in one read it is called once, with one of them and their number.
        """
        self._schedule.on_read = on_read

    def follow(self, on_report: Callable[[Place, bool], None]) -> None:
        """Call `on_report` after every read with the place, and whether its value has changed or there was a fault."""
        self._schedule.on_report = on_report

    def __len__(self) -> int:
        """Return the number of places held."""
        return len(self._states)

    # Leases

    def lease(self, lessee: Hashable, place: Place, interval: float, until: float, owner: str = "") -> PlaceState:
        """Keep the reading of `place` at most `interval` seconds old until monotonic time `until`, for `lessee`.

        Returns the state of the place, for `current`, which may be used as long as the lease lasts. Raises `LimitError`
        if the place is new and the store is full, or the namespace `owner` has used up its share.
        """
        state = self._states.get(place)
        if state is None:
            self._quota.take(owner)
            state = self._schedule.admit(place, self._readers[place.kind], owner)
        if state.lease(lessee, interval, until):
            self._schedule.due_times.hasten(state, max(interval, place.min_refresh_seconds))
        return state

    def release(self, lessee: Hashable, place: Place) -> None:
        """End the lease of `lessee`; a place without leases is dropped when it is due."""
        if state := self._states.get(place):
            state.release(lessee)

    def revive(self) -> None:
        """Read places again that are late without a reason; to be called now and then."""
        self._schedule.revive()

    # Readings

    def current(self, state: PlaceState, wanted_at: float, stale_at: float) -> Reading | None:
        """Return the reading of a leased place if it may be used now, or None if the caller has to wait for a read.

        A reading is used if its read began at `wanted_at` or later; while the place fails or waits for its rate limit,
        also if it began at `stale_at` or later. Raises the `Fault` of a failing place without such a reading.
        """
        reading = state.reading
        if reading is not None:
            if reading.at >= wanted_at:
                return reading
            if reading.at >= stale_at and (state.failing is not None or self._is_queued(state)):
                return reading
        if state.failing is not None:
            raise state.failing.fault.untraced()
        return None

    async def wait(self, states: Iterable[PlaceState], patience_seconds: float, *, anew: bool = False) -> None:
        """Wait until each of `states` was read again or has failed; with `anew`, by a read that begins after this call.

        The wait ends `patience_seconds` after the read has begun, so that a backend that hangs makes one caller wait,
        and not also those that come later.
        """
        now = self._clock.now()
        waits: list[tuple[PlaceState, float, float]] = []
        for state in states:
            begun, end = now, now + patience_seconds
            if state.started is None:
                self._schedule.due_times.want(state)
            elif anew:
                state.hinted = True  # the read under way may have seen it before the change
            else:
                begun, end = state.started, state.started + patience_seconds
            waits.append((state, begun, end))
        for wait in waits:
            await self._wait_for(*wait)

    async def _wait_for(self, state: PlaceState, begun: float, end: float) -> None:
        """Wait until `end` for a fault of `state`, or for a reading that began at `begun` or later."""
        while state.failing is None and (state.reading is None or state.reading.at < begun):
            if self._clock.now() >= end:
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            state.begin_wait(waiter)
            timer = self._clock.call_at(end, partial(_wake, waiter))
            try:
                await waiter
            finally:
                timer.cancel()
                state.end_wait(waiter)

    def unanswered(self, state: PlaceState) -> Unavailable:
        """Return why there is no reading of `state` after a wait."""
        place = state.place
        if state.started is not None:
            seconds = self._clock.now() - state.started
            return Unavailable(f"{place}: no answer yet from {place.backend}, asked {seconds:.1f} s ago")
        return Unavailable(
            f"{place}: not read yet, because {place.backend} is asked as often as its limit allows "
            "(setting limits.requestsPerSecond)"
        )

    def _is_queued(self, state: PlaceState) -> bool:
        """Tell whether the place is due but held back by the rate limit of its backend."""
        queue = self._schedule.queues.get(state.place.backend)
        return queue is not None and state in queue

    def status(self, place: Place) -> PlaceStatus | None:
        """Return what is known of `place`, without a lease; None if it is not in the store."""
        state, now = self._states.get(place), self._clock.now()
        if state is None:
            return None
        failing = state.failing
        return PlaceStatus(
            place=place,
            age=None if state.reading is None else now - state.reading.at,
            fault=None if failing is None else failing.fault,
            fault_seconds=0.0 if failing is None else now - failing.since,
            failures=0 if failing is None else failing.count,
            lessees=len(state.leases),
            interval=state.interval(now),
            read_seconds=state.read_seconds,
            overdue_seconds=state.overdue_seconds(now),
            proof=None if state.reading is None else state.reading.proof,
        )

    def statuses(self) -> Iterator[PlaceStatus]:
        """Return what is known of every place."""
        for place in list(self._states):
            if (status := self.status(place)) is not None:
                yield status

    def ages(self) -> Iterator[tuple[str, float | None, bool]]:
        """Return the kind of every place, the age of its reading in seconds, and whether its last read was a fault.

        Changes nothing, so another thread may call it.
        """
        now = self._clock.now()
        for state in list(self._states.values()):
            reading = state.reading
            yield state.place.kind, None if reading is None else now - reading.at, state.failing is not None

    def paces(self) -> Iterator[tuple[Place, float | None]]:
        """Return every place with the seconds between its reads.

        Changes nothing, so another thread may call it.
        """
        return ((state.place, state.counted_interval) for state in list(self._states.values()))

    def overdue(self) -> Iterator[tuple[Place, float]]:
        """Return the places that are late by more than three of their intervals, each with the seconds that it is late.

        Changes nothing, so another thread may call it.
        """
        return self._schedule.overdue()

    def backends(self) -> list[BackendStatus]:
        """Return the load of each backend."""
        now = self._clock.now()
        return [
            BackendStatus(
                backend=backend,
                limit=rate_limit.limit,
                rate=rate_limit.rate,
                in_flight=rate_limit.in_flight,
                places=len(self._schedule.members.get(backend, ())),
                waiting=len(lags := [now - state.due for state in self._schedule.queues.get(backend, ())]),
                lag_seconds=max(lags, default=0.0),
            )
            for backend, rate_limit in self._schedule.rate_limits.items()
        ]

    async def close(self) -> None:
        """Cancel all reads, and close every reader, even if closing another fails."""
        async with AsyncExitStack() as stack:
            for reader in set(self._readers.values()):
                stack.push_async_callback(reader.close)
            await self._schedule.close()
