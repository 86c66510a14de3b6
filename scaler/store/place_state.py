"""What the store holds of each place, and in which order the due places of a backend have their turns."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from scaler.core.domain import Found, Place, Reader, Reading
from scaler.core.errors import Fault, let_go
from scaler.store.rate_limit import Lane

SLACK_SECONDS = 0.5
"""How much older than its interval a reading may be before a caller waits for the next: a slow read is no fault."""


@dataclass(slots=True)
class Entry:
    """All that is held of one place; times are monotonic seconds."""

    place: Place
    reader: Reader
    lane: Lane
    owner: str  # the namespace that asked first: each namespace has its turns
    reading: Reading | None = None
    fault: Fault | None = None
    fault_at: float = 0.0  # when the present run of faults began
    failures: int = 0
    due: float = 0.0
    started: float | None = None  # when the read that is under way began
    paced: bool = True  # whether the read that is under way counts for the rate of the backend
    hinted: bool = False
    read_seconds: float = 0.0
    leases: dict[Hashable, tuple[float, float]] = field(default_factory=dict)  # lessee → interval, until
    waiters: set[asyncio.Future[None]] = field(default_factory=set)
    _shortest: float | None = None  # the interval of all `leases`, which holds
    _counted_until: float = -math.inf  # until then, when the first of them may end

    def lease(self, lessee: Hashable, interval: float, until: float) -> bool:
        """Note that `lessee` asks every `interval` seconds until `until`; tell whether that is another interval."""
        before = self.leases.get(lessee)
        self.leases[lessee] = (interval, until)
        changed = before is None or before[0] != interval
        self._counted_until = -math.inf if changed else min(self._counted_until, until)
        return changed

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
    def pace(self) -> float | None:
        """The interval as it was counted last; to look at it changes nothing."""
        return self._shortest

    def note_found(self, found: Found, started: float) -> bool:
        """Note what a read that began at `started` has found; tell whether that is news."""
        before = self.reading
        trouble_at = max(
            found.changed_at,
            started if self.failures else -math.inf,
            -math.inf if before is None else before.trouble_at,
        )
        news = before is None or before.trouble_at != trouble_at or before.value != found.value
        # An equal value is kept as it was, so that a thousand equal readings are one object.
        value = found.value if before is None or news else before.value
        self.reading = Reading(value, started, trouble_at, found.proof)
        self.fault, self.failures = None, 0
        return news

    def note_fault(self, fault: Fault, now: float) -> None:
        """Note that a read has failed."""
        if not self.failures:
            self.fault_at = now
        self.fault = untraced(fault)
        self.failures += 1

    @property
    def is_told(self) -> bool:
        """Whether the next read asks the backend for nothing: what it told is there, and no fault is to be mended."""
        return self.reader.told and self.reading is not None and not self.failures

    def fresh_seconds(self, refresh_seconds: float) -> float:
        """Return how old a reading may be before a caller who wants it every `refresh_seconds` waits for the next."""
        return max(refresh_seconds, self.place.min_refresh_seconds) + SLACK_SECONDS


def untraced(fault: Fault) -> Fault:
    """Return an equal fault without history; `fault` itself lets go of its own.

    One that is kept and raised at every poll of an outage would grow all the time.
    """
    return type(fault)(*let_go(fault).args)


class Turns:
    """The due places of one backend that wait for its rate.

    Namespaces take turns, so that none starves the others. Within one, what was never read goes first; the rest goes
    in the order in which it fell due, so that an interval that the rate stretches is stretched evenly.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._owners: OrderedDict[str, tuple[OrderedDict[Place, Entry], OrderedDict[Place, Entry]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._owners)

    def __contains__(self, entry: Entry) -> bool:
        return any(entry.place in queue for queue in self._owners.get(entry.owner, ()))

    def __iter__(self) -> Iterator[Entry]:
        return (entry for queues in self._owners.values() for queue in queues for entry in queue.values())

    def add(self, entry: Entry) -> None:
        """Let `entry` wait for its turn."""
        first, again = self._owners.setdefault(entry.owner, (OrderedDict(), OrderedDict()))
        never_read = entry.reading is None and not entry.failures
        (first if never_read else again)[entry.place] = entry

    def take(self) -> Entry:
        """Return whose turn it is, which waits no more."""
        owner, (first, again) = next(iter(self._owners.items()))
        self._owners.move_to_end(owner)
        entry = next(iter((first or again).values()))
        self.discard(entry)
        return entry

    def clear(self) -> None:
        """Let nobody wait any more."""
        self._owners.clear()

    def discard(self, entry: Entry) -> None:
        """Let `entry` wait no more."""
        queues = self._owners.get(entry.owner, ())
        for queue in queues:
            queue.pop(entry.place, None)
        if not any(queues):
            self._owners.pop(entry.owner, None)
