"""A source with scripted answers, to test everything else without a backend."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scaler.core.clock import Clock, sleep
from scaler.core.domain import (
    Assessment,
    Fault,
    Found,
    Hint,
    Metric,
    MetricSpec,
    Place,
    Proof,
    Reader,
    Readings,
    Report,
)
from scaler.core.errors import Unavailable
from scaler.sources.base import Claim, CommaList, Source, Target, Trigger

SCRIPT = Proof("the script holds all of it", "the script")
HANG = object()
"""An answer that never comes."""


@dataclass(frozen=True, slots=True)
class Work:
    """The value at a spot: the amount of work, and the Unix time at which one more item falls due."""

    value: float = 0
    due: float = math.inf
    read_at: float = field(default=0, compare=False)  # does not count for equality


@dataclass(frozen=True, slots=True)
class Slow:
    """An answer that takes `seconds`."""

    seconds: float
    answer: Any


@dataclass(frozen=True, slots=True)
class Spot(Place):
    """A place with some `Work`."""

    kind: ClassVar[str] = "spot"

    name: str
    host: str = "one"

    @property
    def backend(self) -> str:
        """The host."""
        return f"scripted/{self.host}"


@dataclass(frozen=True, slots=True)
class Map(Place):
    """A place with the names of all spots that begin with `prefix`; read rarely."""

    kind: ClassVar[str] = "map"
    min_refresh_seconds: ClassVar[float] = 60.0

    prefix: str

    @property
    def backend(self) -> str:
        """The host of all maps."""
        return "scripted/maps"


class ScriptedTrigger(Trigger):
    """Scales on the sum of the work at some spots."""

    spots: CommaList | None = None
    prefix: str | None = None
    target: Target = 5
    second: Target | None = None
    activation: Target | None = None

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return one metric, or two with `second`."""
        first = MetricSpec("scripted", self.target)
        return (first,) if self.second is None else (first, MetricSpec("scripted-second", self.second))

    def places(self) -> tuple[Place, ...]:
        """Return the spots (written `name` or `name@host`), or the map."""
        if self.prefix is not None:
            return (Map(self.prefix),)
        return tuple(Spot(*spot.split("@")) for spot in self.spots or ())

    def further_places(self, readings: Readings) -> tuple[Place, ...]:
        """Return the spots of the map."""
        return () if self.prefix is None else tuple(Spot(name) for name in readings[Map(self.prefix)])

    def claims(self) -> tuple[Claim, ...]:
        """Return every spot as a URL."""
        return tuple(Claim("url", f"scripted://{spot}") for spot in self.spots or ())

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Add up the work and the items that are due; the second metric is the highest value."""
        work = [found for found in readings.values() if isinstance(found, Work)]
        if any(found.value < 0 for found in work):
            raise Unavailable("less than nothing is to do")
        due = [found.due for found in work]
        total = sum(found.value for found in work) + sum(when <= now for when in due)
        values = (total, max((found.value for found in work), default=0))
        active = total > (self.activation or 0)
        return Assessment(
            tuple(Metric(spec.name, value) for spec, value in zip(self.specs(), values, strict=False)),
            active,
            (f"{total} to do",),
            until=min((when for when in due if when > now), default=math.inf),
        )


class ScriptedReader(Reader):
    """Reports `answers[name]` for a place: a value, `Found`, a `Fault`, `Slow`, `HANG` or another exception."""

    kinds: ClassVar[frozenset[str]] = frozenset({Spot.kind, Map.kind})

    def __init__(self, clock: Clock) -> None:
        """Start without answers: there is no work anywhere."""
        self._clock = clock
        self.answers: dict[str, Any] = {}
        self.reads: list[tuple[float, tuple[str, ...]]] = []  # time, names
        self.under_way: Counter[str] = Counter()
        self.most_at_once = 0  # concurrent reads of one place
        self.forgotten: list[str] = []
        self.closed = False
        self.hint: Hint = lambda _: None
        self.asked = asyncio.Event()

    def count(self, name: str) -> int:
        """Return the number of reads of `name`."""
        return sum(name in names for _, names in self.reads)

    def times(self, name: str) -> list[float]:
        """Return the times of the reads of `name`."""
        return [at for at, names in self.reads if name in names]

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report the scripted answers."""
        names = {name_of(place): place for place in places}
        self.reads.append((self._clock.now(), tuple(names)))
        self.asked.set()
        for answer in (self.answers.get(name) for name in names):
            if isinstance(answer, Exception) and not isinstance(answer, Fault):
                raise answer
        await asyncio.gather(*(self._read_one(name, place, report) for name, place in names.items()))

    async def _read_one(self, name: str, place: Place, report: Report) -> None:
        self.under_way[name] += 1
        self.most_at_once = max(self.most_at_once, self.under_way[name])
        try:
            answer = self.answers.get(name, Work())
            if isinstance(answer, Slow):
                await sleep(self._clock, answer.seconds)
                answer = answer.answer
            if answer is HANG:
                await asyncio.get_running_loop().create_future()
            report(place, answer if isinstance(answer, (Found, Fault)) else Found(answer, SCRIPT))
        finally:
            self.under_way[name] -= 1

    def listen(self, hint: Hint) -> None:
        """Keep `hint` for the test to call."""
        self.hint = hint

    def forget(self, place: Place) -> None:
        """Note that `place` is forgotten."""
        self.forgotten.append(name_of(place))

    async def close(self) -> None:
        """Note that it is closed."""
        self.closed = True


class TogetherReader(ScriptedReader):
    """The same for a backend that is read as a whole (`Reader.together`)."""

    together: ClassVar[bool] = True


def name_of(place: Place) -> str:
    """Return the name of a place in `answers`."""
    if isinstance(place, Map):
        return f"{place.prefix}*"
    if isinstance(place, Spot):
        return place.name
    raise TypeError(f"{place} is not in the script")


SOURCE = Source("scripted", ScriptedTrigger, ())
