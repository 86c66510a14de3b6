"""The words of the house: what a trigger asks for, what was read, and what follows from it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scaler.core.errors import Fault


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric of a trigger as the HPA will know it: `name` is lowercase `[a-z0-9-]`, `target` is above 0."""

    name: str
    target: float


@dataclass(frozen=True, slots=True)
class Metric:
    """The value of one metric now, in the unit of its target."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Component:
    """One number that a value was made of, for people: `note` says how it counts, or why it does not."""

    name: str
    value: float
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What KEDA is told about a trigger, and why; `metrics` has one entry for every spec of the trigger.

    `until` is the Unix time at which the passing of time alone may change it: the next moment something falls due, or
    `now` for a value that ages all the time (a latency).
    """

    metrics: tuple[Metric, ...]
    active: bool
    reasons: tuple[str, ...]
    components: tuple[Component, ...] = ()
    until: float = math.inf
    doubts: tuple[str, ...] = ()
    """What makes it doubtful that an empty answer is the whole truth (a misspelt name), each with what to look at."""


def _once(written: Callable[[Any], int]) -> Callable[[Any], int]:
    def hashed(place: Any) -> int:
        try:
            return place._hash  # type: ignore[no-any-return]  # noqa: SLF001 - a part of it
        except AttributeError:
            object.__setattr__(place, "_hash", written(place))
            return hashed(place)

    return hashed


class Place(ABC):
    """A hashable value (a frozen dataclass) that says exactly what to read: this queue in this region with this role.

    Equal places are read once, whoever asks. Whatever may change the answer, the identity that reads included, is
    part of the place. `str(place)` names it for people and holds no secret.
    """

    __slots__ = ("_hash",)

    def __init_subclass__(cls) -> None:
        """Let the hash that `dataclass` writes be worked out once: a place is looked up at every step of a read."""
        super().__init_subclass__()
        written = cls.__dict__.get("__hash__")  # with slots, `dataclass` makes the class anew when it has written it
        if written is not None:
            cls.__hash__ = _once(written)  # type: ignore[assignment]  # mypy takes it for unbound

    kind: ClassVar[str]  # chooses the reader
    min_refresh_seconds: ClassVar[float] = 0.0  # for what changes rarely and is dear: never read more often than this

    @property
    @abstractmethod
    def backend(self) -> str:
        """Who answers, for rate limits and metrics: `sqs/123456789012/eu-west-1`, `redis/main`. Holds no secret."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a value is believed: `whole` says what shows that the answer is complete, `origin` that the right one gave it.

    Both are for people, hold no secret and are never empty: a source that cannot name its proof has none. Raises
    `ValueError` for an empty one.
    """

    whole: str
    origin: str

    def __post_init__(self) -> None:
        """Refuse to be made of nothing."""
        if not (self.whole.strip() and self.origin.strip()):
            raise ValueError("a proof says what shows that an answer is whole, and from whom it is")

    def __str__(self) -> str:
        """Write it as a line."""
        return f"whole: {self.whole}; from: {self.origin}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader found at a place, with its proof: the only way to report a value.

    `changed_at` is the monotonic time at which the backend says that it started or changed its role (Redis: `INFO
    server`, a failover), and minus infinity where it does not say so: a low value soon after that proves little.
    """

    value: Any
    proof: Proof
    changed_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found at a place. `at` is when the read began, in monotonic seconds: the value is no older.

    `trouble_at` is the newest sign of trouble: when the first good read after the last fault began, or when the backend
    itself started or changed its role; without one it is minus infinity.

    Two readings with equal values lead to equal assessments at the same time, so a value leaves out of its equality
    whatever only tells when it was read (`field(compare=False)`).
    """

    value: Any
    at: float
    trouble_at: float = -math.inf
    proof: Proof | None = field(default=None, compare=False)


def same_values(before: Sequence[Reading], after: Sequence[Reading]) -> bool:
    """Tell whether two readings of the same places have the same values; the store keeps equal values as one."""
    return len(before) == len(after) and all(old.value is new.value for old, new in zip(before, after, strict=True))


Readings = Mapping[Place, Any]
Report = Callable[[Place, "Found | Fault"], None]
"""Called by a reader once for each place it was given: with what it found and its proof, or with a `Fault`."""
Hint = Callable[[Place], None]
"""Called by a reader that has heard that a place may have changed, so that it is read at once."""

CountRequests = Callable[[str, str, int], None]
"""Called by a reader with the backend (`Place.backend`), the operation (`GetQueueAttributes`) and how many were sent."""


class Reader(ABC):
    """Fetches readings from one outside system; the only part of a source that does I/O."""

    kinds: ClassVar[frozenset[str]]  # the kinds of place it reads
    together: ClassVar[bool] = False  # True: one read takes all places of a backend that are due soon
    told: ClassVar[bool] = False  # True: the backend tells by itself, and to look at a known place asks it for nothing
    timeout_seconds: ClassVar[float] = 5.0  # a place that is not reported by then has a fault

    @abstractmethod
    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Read all `places`, reporting each as soon as it is known, so that none waits for a slower one.

        A value is reported as `Found`, with what proves it. Whatever hinders that is reported as a `Fault`; a fault
        raised counts for all places that were not reported. Several reads run at the same time, never of one place.
        """

    def listen(self, hint: Hint) -> None:  # noqa: B027 - an optional hook
        """Take the function to call when a place may have changed; readers that hear nothing ignore it."""

    def forget(self, place: Place) -> None:  # noqa: B027 - an optional hook
        """Nobody asks for `place` any more: close what was kept open for it."""

    async def close(self) -> None:  # noqa: B027 - an optional hook
        """Close all connections."""


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
    "same_values",
]
