"""All that the store holds of one place: its reading, its faults, who asks for it and when it is read next."""

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
"""Waits for most places; a set of its own for each would take 216 bytes."""
SLACK_SECONDS = 0.5
"""How much older than its interval a reading may be before a caller waits for the next: a slow read is no fault."""


def unproven(place: Place, outcome: object) -> Defect:
    """Return the fault that a value without its proof is."""
    log.error("a reader reported a value without its proof", place=str(place), kind=type(outcome).__name__)
    return Defect(f"{place}: internal error: a value without its proof; the scaler's log says more")


@dataclass(frozen=True, slots=True)
class Failing:
    """A run of faults: the newest, when the first began, and how many they are."""

    fault: Fault
    since: float
    count: int


@dataclass(slots=True)
class PlaceState:
    """What is known of a place and of its next read; times are monotonic seconds."""

    place: Place
    reader: Reader
    rate_limit: RateLimit
    owner: str  # the namespace that asked first: each namespace has its turns
    reading: Reading | None = None
    failing: Failing | None = None
    due: float = 0.0
    started: float | None = None  # when the read that is under way began
    paced: bool = True  # whether the read that is under way counts for the rate of the backend
    hinted: bool = False
    read_seconds: float = 0.0
    leases: dict[Hashable, tuple[float, float]] = field(default_factory=dict)  # lessee → interval, until
    waiters: set[asyncio.Future[None]] | frozenset[asyncio.Future[None]] = NOBODY
    _shortest: float | None = None  # the interval of all `leases`, which holds
    _counted_until: float = -math.inf  # until then, when the first of them may end

    def lease(self, lessee: Hashable, interval: float, until: float) -> bool:
        """Note that `lessee` asks every `interval` seconds until `until`; tell whether that is another interval."""
        before = self.leases.get(lessee)
        self.leases[lessee] = (interval, until)
        changed = before is None or before[0] != interval
        self._counted_until = -math.inf if changed else min(self._counted_until, until)
        return changed

    def begin_wait(self, waiter: asyncio.Future[None]) -> None:
        """Let `waiter` be done with the next outcome."""
        if isinstance(self.waiters, set):
            self.waiters.add(waiter)
        else:
            self.waiters = {waiter}

    def end_wait(self, waiter: asyncio.Future[None]) -> None:
        """Nobody waits for `waiter` any more."""
        if isinstance(self.waiters, set):
            self.waiters.discard(waiter)
        if not self.waiters:
            self.waiters = NOBODY

    def release(self, lessee: Hashable) -> None:
        """`lessee` asks no more."""
        if self.leases.pop(lessee, None) is not None:
            self._counted_until = -math.inf

    def interval(self, now: float) -> float | None:
        """Return the shortest interval of those who still ask, or None; forgets the others."""
        # With thousands who ask, counting them at each read would cost more than the read.
        if now > self._counted_until:
            for lessee in [lessee for lessee, (_, until) in self.leases.items() if until < now]:
                del self.leases[lessee]
            shortest = min((seconds for seconds, _ in self.leases.values()), default=None)
            self._shortest = None if shortest is None else max(self.place.min_refresh_seconds, shortest)
            self._counted_until = min((until for _, until in self.leases.values()), default=-math.inf)
        return self._shortest

    @property
    def counted_interval(self) -> float | None:
        """The interval as it was counted last; to look at it changes nothing."""
        return self._shortest

    def note(self, outcome: Found | Fault, started: float, now: float) -> tuple[Fault | None, bool]:
        """Note the outcome of a read that began at `started`; return the fault that it is, and whether it is news.

        A value that comes without its proof, against all types, is a fault, and so is one that cannot be compared.
        Every fault is news: the last good reading has aged since the one before.
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
        # An equal value is kept as it was, so that a thousand equal readings are one object.
        value = found.value if before is None or news else before.value
        self.reading, self.failing = Reading(value, started, trouble_at, found.proof), None
        return news

    @property
    def is_watched(self) -> bool:
        """Whether the next read asks the backend for nothing: what it told is there, and no fault is to be mended."""
        return self.reader.watched and self.reading is not None and self.failing is None

    def fresh_seconds(self, refresh_seconds: float) -> float:
        """Return how old a reading may be before a caller who wants it every `refresh_seconds` waits for the next."""
        return max(refresh_seconds, self.place.min_refresh_seconds) + SLACK_SECONDS

    def overdue_seconds(self, now: float) -> float:
        """Return how late its next reading is, beyond the interval at which it is wanted; 0 for one in time."""
        since = self.started if self.started is not None else self.due
        return max(0.0, now - since)
