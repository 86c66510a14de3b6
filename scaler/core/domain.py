"""The domain types: what a trigger asks for, what was read, and what follows from it."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scaler.core.errors import Fault


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric of a trigger as the HPA knows it: `name` is lowercase `[a-z0-9-]`, `target` is above 0."""

    name: str
    target: float


@dataclass(frozen=True, slots=True)
class Metric:
    """The value of one metric now, in the unit of its target.

    Raises `ArithmeticError` for a value that is not a number of 0 or more.
    """

    name: str
    value: float

    def __post_init__(self) -> None:
        """Refuse what is no number of things: an assessment with it fails, so it is neither told nor judged."""
        if not 0 <= self.value < math.inf:
            raise ArithmeticError(f"metric {self.name} is {self.value}")


@dataclass(frozen=True, slots=True)
class Component:
    """One number that a metric was computed from, for people; `note` says how it counts, or why it does not."""

    name: str
    value: float
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The result of a trigger's readings, with its reasons; `metrics` has one entry for every spec of the trigger.

    `until` is the Unix time at which equal readings may first give another assessment: the next moment when something
    falls due, or `now` for a value that grows all the time (a latency).
    """

    metrics: tuple[Metric, ...]
    active: bool
    reasons: tuple[str, ...]
    components: tuple[Component, ...] = ()
    until: float = math.inf
    doubts: tuple[str, ...] = ()
    """Reasons why an empty queue may be a mistake (a misspelt name), each with what to look at."""


def _once(written: Callable[[Any], int]) -> Callable[[Any], int]:
    def hashed(place: Any) -> int:
        try:
            return place._hash  # type: ignore[no-any-return]  # noqa: SLF001 - it belongs to the class
        except AttributeError:
            object.__setattr__(place, "_hash", written(place))
            return hashed(place)

    return hashed


class Place(ABC):
    """A hashable value (a frozen dataclass) that says exactly what to read: one queue in one region with one role.

    Equal places are read once for all ScaledObjects. Everything that may change the result is part of the place, also
    the identity that reads. `str(place)` names it for people and contains no secret.
    """

    __slots__ = ("_hash",)

    def __init_subclass__(cls) -> None:
        """Cache the hash that `dataclass` generates, because a place is looked up at every step of a read."""
        super().__init_subclass__()
        written = cls.__dict__.get("__hash__")  # absent at first: with slots, `dataclass` creates the class again
        if written is not None:
            cls.__hash__ = _once(written)  # type: ignore[assignment]  # mypy takes it for an unbound method

    kind: ClassVar[str]  # chooses the reader (`Reader.kinds`)
    min_refresh_seconds: ClassVar[float] = 0.0  # never read more often than this: for what changes rarely and is
    # expensive

    @property
    @abstractmethod
    def backend(self) -> str:
        """The system that is read, for rate limits and metrics, such as `sqs/123456789012/eu-west-1`; no secret."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a value is trusted: `whole` says what shows that it is complete, `origin` what shows from whom it is.

    Both are for people, contain no secret and are never empty. Raises `ValueError` if one is.
    """

    whole: str
    origin: str

    def __post_init__(self) -> None:
        if not (self.whole.strip() and self.origin.strip()):
            raise ValueError("a proof says what shows that an answer is whole, and from whom it is")

    def __str__(self) -> str:
        return f"whole: {self.whole}; from: {self.origin}"


@dataclass(frozen=True, slots=True)
class Found:
    """A value that a reader found at a place, with its proof. A reader can report a value in no other way.

    `changed_at` is the monotonic time at which the backend started or changed its role, as it says itself (Redis: `INFO
    server`, a failover), minus infinity if it does not say. A low value soon after that proves little.
    """

    value: Any
    proof: Proof
    changed_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Reading:
    """A value read at a place; its read began at `at` (monotonic seconds), so the value is no older than that.

    `trouble_at` is the time of the newest trouble: when the first good read after the last fault began, or when the
    backend started or changed its role; minus infinity without any.

    Readings with equal values must give equal assessments at the same time. So a field that only says when the value
    was read must not count for equality (`field(compare=False)`).
    """

    value: Any
    at: float
    trouble_at: float = -math.inf
    proof: Proof | None = field(default=None, compare=False)


def same_values(before: Sequence[Reading], after: Sequence[Reading]) -> bool:
    """Tell whether readings of the same places have the same values; the store keeps equal values as one object."""
    return len(before) == len(after) and all(old.value is new.value for old, new in zip(before, after, strict=True))


def uncounted(_backend: str, _operation: str, _requests: int) -> None:
    """Count nothing, as a `CountRequests` of commands without metrics."""


Readings = Mapping[Place, Any]
Report = Callable[[Place, "Found | Fault"], None]
"""Called by a reader once for each place that it was given, with what it found or with a `Fault`."""
Hint = Callable[[Place], None]
"""Called by a reader that has learned that a place may have changed, so that it is read at once."""

CountRequests = Callable[[str, str, int], None]
"""Called by a reader with the backend (`Place.backend`), the operation (`GetQueueAttributes`) and the number of
requests."""


class Reader(ABC):
    """Reads the places of one kind of external system; the only part of a source that does I/O."""

    kinds: ClassVar[frozenset[str]]  # the kinds of place that it reads (`Place.kind`)
    together: ClassVar[bool] = False  # True: one call of `read` gets all places of a backend that are due soon
    watched: ClassVar[bool] = False  # True: a watch keeps read places up to date, so reading one again sends no request
    timeout_seconds: ClassVar[float] = 5.0  # a place that is not reported by then gets a fault

    @abstractmethod
    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Read all `places`, and report each as soon as it is read, so that none waits for a slower one.

        A value is reported as `Found`, with its proof, and everything else as a `Fault`. A fault that is raised counts
        for all places that were not reported. Several calls may run at the same time, but never two with the same
        place.
        """

    def listen(self, hint: Hint) -> None:  # noqa: B027 - an optional hook
        """Take the function to call when a place may have changed; does nothing in readers that learn of no changes."""

    def forget(self, place: Place) -> None:  # noqa: B027 - an optional hook
        """Close what was kept open for `place`, which is no longer leased."""

    async def close(self) -> None:  # noqa: B027 - an optional hook
        """Close all connections."""


class SingleReader(Reader):
    """A reader that reads each place by itself, all at the same time."""

    @abstractmethod
    async def find(self, place: Any) -> Found:
        """Return what is found at `place`, one of `kinds`; raises a `Fault`."""

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report each place as `find` returns or raises; any other error does not affect the other places."""

        async def read_one(place: Place) -> None:
            try:
                outcome: Found | Fault = await self.find(place)
            except Fault as fault:
                outcome = fault
            report(place, outcome)

        for error in await asyncio.gather(*map(read_one, places), return_exceptions=True):
            if error is not None:
                raise error


__all__ = [
    "Assessment",
    "Component",
    "CountRequests",
    "Fault",
    "Found",
    "Hint",
    "Metric",
    "MetricSpec",
    "Place",
    "Proof",
    "Reader",
    "Reading",
    "Readings",
    "Report",
    "SingleReader",
    "same_values",
    "uncounted",
]
