"""All that the store knows of one place: its reading, its faults, its leases, and when it is read next."""

import asyncio
import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from scaler.core.domain import Found, Place, Reader, Reading
from scaler.core.errors import Defect, Fault
from scaler.core.logs import get_logger
from scaler.store.rate_limit import RateLimit

log = get_logger()

NOBODY: frozenset[asyncio.Future[None]] = frozenset()
"""The waiters of a place that nobody waits for; an empty set for each place would take 216 bytes."""
SLACK_SECONDS = 0.5
"""How much older than its interval a reading may be before a caller waits for the next one: reads take a while."""


def unproven(place: Place, outcome: object) -> Defect:
    """Return the fault for a reader that reported something else than `Found` or a `Fault`."""
    log.error("a reader reported a value without its proof", place=str(place), kind=type(outcome).__name__)
    return Defect(f"{place}: internal error: a value without its proof; the scaler's log says more")


@dataclass(frozen=True, slots=True)
class Failing:
    """Faults in a row: the newest, when the first was noted, and how many they are."""

    fault: Fault
    since: float
    count: int


@dataclass(slots=True)
class PlaceState:
    """The state of a place: its reading, its leases and its next read; times are monotonic seconds."""

    place: Place
    reader: Reader
    rate_limit: RateLimit
    owner: str  # the namespace of the first lease, for the turns of `FairQueue` and the quota
    reading: Reading | None = None
    failing: Failing | None = None
    due: float = 0.0
    started: float | None = None  # when the read under way began; None without one
    paced: bool = True  # whether the read under way counts for the rate limit
    hinted: bool = False
    read_seconds: float = 0.0
    leases: dict[Hashable, tuple[float, float]] = field(default_factory=dict)  # lessee → interval, until
    waiters: set[asyncio.Future[None]] | frozenset[asyncio.Future[None]] = NOBODY
    _shortest: float | None = None  # the shortest interval of `leases`, which is right
    _counted_until: float = -math.inf  # until this time, when the first lease may end

    def lease(self, lessee: Hashable, interval: float, until: float) -> bool:
        """Let `lessee` have a reading every `interval` seconds until `until`; tell whether its interval is new."""
        before = self.leases.get(lessee)
        self.leases[lessee] = (interval, until)
        changed = before is None or before[0] != interval
        self._counted_until = -math.inf if changed else min(self._counted_until, until)
        return changed

    def begin_wait(self, waiter: asyncio.Future[None]) -> None:
        """Set the result of `waiter` when the next read has ended."""
        if isinstance(self.waiters, set):
            self.waiters.add(waiter)
        else:
            self.waiters = {waiter}

    def end_wait(self, waiter: asyncio.Future[None]) -> None:
        """Forget `waiter`."""
        if isinstance(self.waiters, set):
            self.waiters.discard(waiter)
        if not self.waiters:
            self.waiters = NOBODY

    def release(self, lessee: Hashable) -> None:
        """End the lease of `lessee`."""
        if self.leases.pop(lessee, None) is not None:
            self._counted_until = -math.inf

    def interval(self, now: float) -> float | None:
        """Return the shortest interval of all leases, or None without a lease; removes the leases that have ended."""
        # The result is kept: with thousands of leases, going through them at each read would cost more than the read.
        if now > self._counted_until:
            for lessee in [lessee for lessee, (_, until) in self.leases.items() if until < now]:
                del self.leases[lessee]
            shortest = min((seconds for seconds, _ in self.leases.values()), default=None)
            self._shortest = None if shortest is None else max(self.place.min_refresh_seconds, shortest)
            self._counted_until = min((until for _, until in self.leases.values()), default=-math.inf)
        return self._shortest

    @property
    def counted_interval(self) -> float | None:
        """The last result of `interval`, without looking at the leases."""
        return self._shortest

    def note(self, outcome: Found | Fault, started: float, now: float) -> tuple[Fault | None, bool]:
        """Note the outcome of a read that began at `started`; return its fault, and whether anything has changed.

        An outcome that is neither `Found` nor a `Fault` is a fault, and so is a value that cannot be compared. A fault
        always counts as a change, because the last good reading has aged since the fault before.
        """
        fault: Fault
        try:
            if isinstance(outcome, Found):
                return None, self._note_found(outcome, started)
            fault = outcome if isinstance(outcome, Fault) else unproven(self.place, outcome)
        except Exception as error:
            log.exception("a value cannot be compared", place=str(self.place))
            fault = Defect(f"{self.place}: internal error {type(error).__name__}; the scaler's log says more")
        since, count = (now, 0) if self.failing is None else (self.failing.since, self.failing.count)
        self.failing = Failing(fault.untraced(), since, count + 1)
        return fault, True

    def _note_found(self, found: Found, started: float) -> bool:
        before = self.reading
        trouble_at = max(
            found.changed_at,
            started if self.failing else -math.inf,
            -math.inf if before is None else before.trouble_at,
        )
        news = before is None or before.value != found.value or before.trouble_at != trouble_at
        # An equal value stays the same object, so that `same_values` needs to compare identities only.
        value = found.value if before is None or news else before.value
        self.reading, self.failing = Reading(value, started, trouble_at, found.proof), None
        return news

    @property
    def is_watched(self) -> bool:
        """Whether reading it sends no request, because a watch keeps it up to date and its last read was good."""
        return self.reader.watched and self.reading is not None and self.failing is None

    def fresh_seconds(self, refresh_seconds: float) -> float:
        """Return how old, in seconds, a reading may be before a caller with `refresh_seconds` waits for the next."""
        return max(refresh_seconds, self.place.min_refresh_seconds) + SLACK_SECONDS

    def overdue_seconds(self, now: float) -> float:
        """Return how many seconds the next reading is late, beyond its interval; 0 if it is in time."""
        since = self.started if self.started is not None else self.due
        return max(0.0, now - since)
