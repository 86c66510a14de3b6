"""The traffic of each backend in the last hour: requests, reads, faults, and durations."""

from collections import deque
from dataclasses import dataclass, field

from scaler.core.clock import Clock

STEP_SECONDS, STEPS = 30.0, 120
RATE_STEPS = 10
"""The current rate is that of the last five minutes."""
SHORTEST_RATE_SECONDS = 30.0
"""A rate over less time says nothing, because the first reads of many places come in a burst."""
MAX_BACKENDS = 1_000
OTHER = "other"
"""Counts all backends beyond `MAX_BACKENDS`, because metadata can name any number of hosts."""


@dataclass(slots=True)
class Step:
    """The traffic of one half minute."""

    slot: int
    requests: int = 0
    reads: int = 0
    faults: int = 0
    read_seconds: float = 0.0
    slowest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """The current rates of one backend; None if they are not known yet."""

    seconds: float
    requests_per_hour: float | None
    reads: int
    faults: int
    mean_seconds: float | None
    slowest_seconds: float | None


@dataclass(slots=True)
class _Course:
    began: float
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=STEPS))

    def step(self, now: float) -> Step:
        slot = int(now / STEP_SECONDS)
        if not self.steps or self.steps[-1].slot != slot:
            self.steps.append(Step(slot))
        return self.steps[-1]


class Traffic:
    """Counts by backend (`Place.backend`)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._courses: dict[str, _Course] = {}

    def requests(self, backend: str, requests: int) -> None:
        """Count `requests` sent to `backend`."""
        self._step(backend).requests += requests

    def read(self, backend: str, seconds: float, places: int = 1, *, failed: bool) -> None:
        """Count one read of `places` places of `backend`."""
        step = self._step(backend)
        step.reads += places
        step.faults += places * failed
        step.read_seconds += places * seconds
        step.slowest_seconds = max(step.slowest_seconds, seconds)

    def _step(self, backend: str) -> Step:
        now = self._clock.now()
        course = self._courses.get(backend)
        if course is None:
            if len(self._courses) >= MAX_BACKENDS:
                self._forget_silent(now)
            if len(self._courses) >= MAX_BACKENDS:
                backend = OTHER
            course = self._courses.setdefault(backend, _Course(now))
        return course.step(now)

    def _forget_silent(self, now: float) -> None:
        oldest = int(now / STEP_SECONDS) - STEPS
        self._courses = {name: course for name, course in self._courses.items() if course.steps[-1].slot > oldest}

    def backends(self) -> list[str]:
        """Return the backends with traffic in the last hour."""
        self._forget_silent(self._clock.now())
        return list(self._courses)

    def rate(self, backend: str) -> Rate:
        """Return the current rate of `backend`."""
        now, course = self._clock.now(), self._courses.get(backend)
        if course is None:
            return Rate(0.0, None, 0, 0, None, None)
        first = int(now / STEP_SECONDS) - RATE_STEPS + 1
        seconds = now - max(first * STEP_SECONDS, course.began)
        steps = [step for step in course.steps if step.slot >= first]
        reads = sum(step.reads for step in steps)
        requests = sum(step.requests for step in steps)
        return Rate(
            seconds=seconds,
            requests_per_hour=requests / seconds * 3_600 if seconds >= SHORTEST_RATE_SECONDS else None,
            reads=reads,
            faults=sum(step.faults for step in steps),
            mean_seconds=sum(step.read_seconds for step in steps) / reads if reads else None,
            slowest_seconds=max(step.slowest_seconds for step in steps) if reads else None,
        )

    def recent(self, backend: str) -> list[Step | None]:
        """Return the half minutes of the last hour, oldest first, None for those without traffic."""
        slot, course = int(self._clock.now() / STEP_SECONDS), self._courses.get(backend)
        by_slot = {step.slot: step for step in course.steps} if course is not None else {}
        return [by_slot.get(each) for each in range(slot - STEPS + 1, slot + 1)]
