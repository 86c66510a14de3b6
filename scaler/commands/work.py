"""A model of workers: jobs arrive, wait for a free thread, take their time, and may lose their pod."""

import math
import random
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """One replica: `per_replica` threads, each of which takes `service_seconds` for a job, after `startup_seconds`.

    A pod that is removed has `grace_seconds` to end its jobs; what runs longer is interrupted and waits again.
    """

    service_seconds: float = 1.0
    startup_seconds: float = 0.0
    per_replica: int = 1
    grace_seconds: float = 30.0


@dataclass(slots=True)
class Work:
    """The jobs. With a seed, arrivals are Poisson and service times exponential; without, both are as even as can be."""

    model: WorkerModel
    seed: int | None = None
    waits: list[tuple[float, int]] = field(default_factory=list)  # seconds waited, how many jobs
    interrupted: int = 0
    busy: int = 0
    waiting: int = 0
    running: int = 0
    _queue: deque[list[float]] = field(default_factory=deque)  # [arrived, how many], oldest first
    _ends: dict[int, int] = field(default_factory=dict)  # step → how many jobs end in it
    _starting: deque[tuple[float, int]] = field(default_factory=deque)  # ready at, how many
    _arrears: float = 0.0
    _replicas: int = 0
    _dice: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Seed the dice."""
        self._dice = random.Random(self.seed)  # noqa: S311 - a simulation that can be repeated

    def step(self, now: float, step: int, seconds: float, rate: float) -> None:
        """Move on by `seconds` to `now`, the step of number `step`, while `rate` jobs a second arrive."""
        self.busy -= self._ends.pop(step, 0)
        arrived = self._arrivals(rate * seconds)
        if arrived:
            self._queue.append([now, arrived])
            self.waiting += arrived
        while self._starting and self._starting[0][0] <= now:
            self.running += self._starting.popleft()[1]
        free = self.running * self.model.per_replica - self.busy
        while free > 0 and self._queue:
            oldest = self._queue[0]
            taken = min(free, int(oldest[1]))
            self._begin(step, seconds, taken)
            self.waits.append((now - oldest[0], taken))
            free -= taken
            self.waiting -= taken
            oldest[1] -= taken
            if not oldest[1]:
                self._queue.popleft()

    def scale(self, replicas: int, now: float, step: int, seconds: float) -> None:
        """Start pods, which are ready after their start-up, or remove some: first those that are not ready yet."""
        change = replicas - self._replicas
        self._replicas = replicas
        if change > 0:
            self._starting.append((now + self.model.startup_seconds, change))
            return
        removed = -change
        while removed and self._starting:
            ready_at, count = self._starting.pop()
            gone = min(count, removed)
            removed -= gone
            if count > gone:
                self._starting.append((ready_at, count - gone))
        if removed and self.running:
            self._interrupt(removed / self.running, now, step + math.floor(self.model.grace_seconds / seconds))
            self.running -= removed

    def oldest_seconds(self, now: float) -> float:
        """Return how long the oldest job has waited."""
        return now - self._queue[0][0] if self._queue else 0.0

    def _begin(self, step: int, seconds: float, jobs: int) -> None:
        self.busy += jobs
        if self.seed is None:
            end = step + max(1, round(self.model.service_seconds / seconds))
            self._ends[end] = self._ends.get(end, 0) + jobs
            return
        for _ in range(jobs):
            service = self._dice.expovariate(1 / self.model.service_seconds) if self.model.service_seconds else 0.0
            end = step + max(1, round(service / seconds))
            self._ends[end] = self._ends.get(end, 0) + 1

    def _interrupt(self, share: float, now: float, last_step: int) -> None:
        """Interrupt `share` of the jobs that end after `last_step`: an HPA does not choose idle pods."""
        back = 0
        for end in [end for end in self._ends if end > last_step]:
            lost = round(self._ends[end] * share)
            self._ends[end] -= lost
            back += lost
        if back:
            self.busy -= back
            self.waiting += back
            self.interrupted += back
            self._queue.appendleft([now, back])

    def _arrivals(self, expected: float) -> int:
        if self.seed is None:
            self._arrears += expected
            arrived = int(self._arrears + 1e-9)
            self._arrears -= arrived
            return arrived
        if expected > 50:  # a normal distribution is close enough there
            return max(0, round(self._dice.gauss(expected, math.sqrt(expected))))
        count, product, limit = 0, self._dice.random(), math.exp(-expected)
        while product > limit:
            count += 1
            product *= self._dice.random()
        return count
