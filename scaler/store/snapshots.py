"""The store: one reading per place for all who ask, fresh while someone asks, and a fault never as a value."""

import asyncio
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from scaler.core.clock import Clock
from scaler.core.domain import Place, Reader, Reading
from scaler.core.errors import Fault, Unavailable
from scaler.core.quota import Quota
from scaler.store.place_state import Entry, untraced
from scaler.store.schedule import Refresher


@dataclass(frozen=True, slots=True)
class PlaceStatus:
    """What the store knows of one place, for people; times in seconds."""

    place: Place
    age: float | None
    fault: Fault | None
    fault_seconds: float
    failures: int
    lessees: int
    interval: float | None
    read_seconds: float


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """How one backend is being asked; `lag_seconds` is how late its latest due place is for want of rate."""

    backend: str
    limit: float
    rate: float
    in_flight: int
    places: int
    waiting: int
    lag_seconds: float


class Snapshots:
    """Keeps one reading for each place that somebody asks for.

    `lease` says who asks and how often; while a lease lasts, the place is refreshed in the background. `newest` and
    `read` give what is known. All methods belong to one event loop.
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
        """Read with `readers`; `limits` are reads per second for each backend by the first part of its name."""
        self._readers = {kind: reader for reader in readers for kind in reader.kinds}
        self._clock, self._quota = clock, Quota(max_places, "limits.maxPlaces")
        self._refresher = Refresher(clock, limits or {}, dice)
        self._refresher.on_drop = self._quota.give_back
        self._entries = self._refresher.entries
        for reader in set(self._readers.values()):
            reader.listen(self._refresher.hint)

    def observe(self, on_read: Callable[[Place, float, Fault | None, int], None]) -> None:
        """Call `on_read` after every read with the place, the seconds that it took, its fault, and 1.

        Of many places that were read well together it is called once, with one of them, and with how many they are.
        """
        self._refresher.on_read = on_read

    def follow(self, on_report: Callable[[Place, bool], None]) -> None:
        """Call `on_report` after every read with the place, and whether its value has changed or it was a fault."""
        self._refresher.on_report = on_report

    def __len__(self) -> int:
        """Return the number of places held."""
        return len(self._entries)

    # Who asks

    def lease(self, lessee: Hashable, place: Place, interval: float, until: float, owner: str = "") -> Entry:
        """Keep `place` no older than `interval` seconds until monotonic time `until`, for `lessee` of namespace `owner`.

        Returns what the store holds of the place, for `current`; it counts as long as the lease.
        Raises `LimitError` if the place is new and the store is full, or `owner` has its share of it.
        """
        entry = self._entries.get(place)
        if entry is None:
            entry = self._admit(place, owner)
        if entry.lease(lessee, interval, until):
            self._refresher.hasten(entry, max(interval, place.min_refresh_seconds))
        return entry

    def release(self, lessee: Hashable, place: Place) -> None:
        """End the lease of `lessee`; the place is dropped when it is due and nobody else asks."""
        if entry := self._entries.get(place):
            entry.release(lessee)

    def _admit(self, place: Place, owner: str) -> Entry:
        self._quota.take(owner)
        return self._refresher.admit(place, self._readers[place.kind], owner)

    # What is known

    def newest(self, place: Place, refresh_seconds: float, stale_seconds: float) -> Reading | None:
        """Return the reading of `place` if it may be served now, or None if the next read has to be waited for.

        Raises the `Fault` of the place if it has no reading younger than `stale_seconds`.
        """
        entry = self._entries.get(place)
        return None if entry is None else self.current(entry, refresh_seconds, stale_seconds)

    def current(self, entry: Entry, refresh_seconds: float, stale_seconds: float) -> Reading | None:
        """Return what `newest` does, of a place that is leased, without looking for it."""
        reading = entry.reading
        if reading is not None:
            age = self._clock.now() - reading.at
            fresh = age <= entry.fresh_seconds(refresh_seconds)
            may_be_served = fresh or entry.fault or self._is_ready(entry)
            if age <= stale_seconds + entry.place.min_refresh_seconds and may_be_served:
                return reading
        if entry.fault is not None:
            raise untraced(entry.fault)
        return None

    async def read(
        self, places: Iterable[Place], refresh_seconds: float, stale_seconds: float, timeout_seconds: float
    ) -> dict[Place, Reading]:
        """Return one reading for each of `places`, waiting at most `timeout_seconds` for those not known yet.

        The places must be leased. Raises the `Fault` of the first place that has no reading young enough.
        """
        known: dict[Place, Reading] = {}
        found: dict[Place, Reading | None] = {}
        missing: list[Place] = []
        for place in places:
            found[place] = reading = self.newest(place, refresh_seconds, stale_seconds)
            if reading is None:
                missing.append(place)
            else:
                known[place] = reading
        if not missing:
            return known
        await self._wait(missing, timeout_seconds)
        return {place: reading or self._last(place, refresh_seconds, stale_seconds) for place, reading in found.items()}

    async def _wait(self, places: list[Place], timeout_seconds: float) -> None:
        """Wait until each place has been read or has failed once more, or until the time is up."""
        now = self._clock.now()
        waiters: list[tuple[Entry, asyncio.Future[None]]] = []
        for place in places:
            if entry := self._entries.get(place):
                if entry.started is None and entry.due > now:
                    self._refresher.schedule(entry, now)
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                entry.waiters.add(waiter)
                waiters.append((entry, waiter))

        def expire() -> None:
            for _, waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

        timer = self._clock.call_at(now + timeout_seconds, expire)
        try:
            for _, waiter in waiters:
                await waiter
        finally:
            timer.cancel()
            for entry, waiter in waiters:
                entry.waiters.discard(waiter)

    def _last(self, place: Place, refresh_seconds: float, stale_seconds: float) -> Reading:
        """Return what there is after the wait; raises `Unavailable`, saying why there is nothing, or the fault."""
        if (reading := self.newest(place, refresh_seconds, stale_seconds)) is not None:
            return reading
        entry, now = self._entries.get(place), self._clock.now()
        if entry is not None and entry.reading is not None and now - entry.reading.at <= stale_seconds:
            return entry.reading  # the backend is slower than the interval, but answers
        if entry is not None and entry.started is not None:
            raise Unavailable(f"{place}: no answer yet from {place.backend}, asked {now - entry.started:.1f} s ago")
        raise Unavailable(
            f"{place}: not read yet, because {place.backend} is asked as often as its limit allows "
            "(setting limits.requestsPerSecond)"
        )

    def _is_ready(self, entry: Entry) -> bool:
        """Tell whether a read is due but has to wait for the rate of its backend."""
        turns = self._refresher.ready.get(entry.place.backend)
        return turns is not None and entry in turns

    def status(self, place: Place) -> PlaceStatus | None:
        """Return what is known of `place`, without asking for it."""
        entry, now = self._entries.get(place), self._clock.now()
        if entry is None:
            return None
        return PlaceStatus(
            place=place,
            age=None if entry.reading is None else now - entry.reading.at,
            fault=entry.fault,
            fault_seconds=now - entry.fault_at if entry.fault else 0.0,
            failures=entry.failures,
            lessees=len(entry.leases),
            interval=entry.interval(now),
            read_seconds=entry.read_seconds,
        )

    def statuses(self) -> Iterator[PlaceStatus]:
        """Return what is known of every place."""
        for place in list(self._entries):
            if (status := self.status(place)) is not None:
                yield status

    def ages(self) -> Iterator[tuple[str, float | None, bool]]:
        """Return of every place its kind, the age of its reading, and whether its last read was a fault.

        Changes nothing, so another thread may ask.
        """
        now = self._clock.now()
        for entry in list(self._entries.values()):
            reading = entry.reading
            yield entry.place.kind, None if reading is None else now - reading.at, entry.fault is not None

    def paces(self) -> Iterator[tuple[Place, float | None]]:
        """Return every place, and how many seconds lie between its reads.

        Changes nothing, so another thread may ask.
        """
        return ((entry.place, entry.pace) for entry in list(self._entries.values()))

    def backends(self) -> list[BackendStatus]:
        """Return how each backend is being asked."""
        now = self._clock.now()
        return [
            BackendStatus(
                backend=backend,
                limit=lane.limit,
                rate=lane.rate,
                in_flight=lane.in_flight,
                places=len(self._refresher.members.get(backend, ())),
                waiting=len(lags := [now - entry.due for entry in self._refresher.ready.get(backend, ())]),
                lag_seconds=max(lags, default=0.0),
            )
            for backend, lane in self._refresher.lanes.items()
        ]

    async def close(self) -> None:
        """Stop reading, and close the readers: each, even if closing another fails."""
        async with AsyncExitStack() as stack:
            for reader in set(self._readers.values()):
                stack.push_async_callback(reader.close)
            await self._refresher.close()
