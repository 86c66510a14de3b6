"""A model of workers: jobs arrive, wait for a free thread, run, and may lose their pod."""

import math
import random
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scaler.commands.grid import Grid

if TYPE_CHECKING:
    from array import array

SpareBusy = Literal["off", "prefer", "hold"]
NEVER = 2**62
"""A step beyond every simulation."""


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """One replica: `per_replica` threads, ready after `startup_seconds`, each taking `service_seconds` for a job.

    A removed pod has `grace_seconds` to end its jobs; longer ones are interrupted and wait again. `spare_busy` says how
    ready pods are chosen for removal: at random, or idle ones first.
    """

    service_seconds: float = 1.0
    startup_seconds: float = 0.0
    per_replica: int = 1
    grace_seconds: float = 30.0
    spare_busy: SpareBusy = "off"


@dataclass(frozen=True, slots=True)
class Job:
    """A running job: its pod, and the steps in which it began and will end."""

    pod: int
    began: int
    ends: int


def victims(jobs: Iterable[Job], pods: list[int], count: int, step: int, dice: random.Random | None) -> list[int]:
    """Return `count` of `pods` to remove, chosen as by a ReplicaSet among ready pods of equal age: at random.

    Without `dice`, those with the lowest deletion cost: 0 for an idle pod, for a busy one 1 + ⌊log2 of the thread-steps
    of work that would be lost⌋; of equal ones the youngest.
    """
    if dice is not None:
        return dice.sample(pods, count)
    lost: Counter[int] = Counter()
    for job in jobs:
        lost[job.pod] += max(1, step - job.began)
    return sorted(pods, key=lambda pod: (lost[pod].bit_length(), -pod))[:count]


class Work(ABC):
    """The jobs of one simulation. All times are steps of `grid`; `total` is the number of arrivals up to each step.

    The oldest job goes to the thread that has been free longest, as Redis serves clients that wait in BRPOP.
    """

    def __init__(self, model: WorkerModel, grid: Grid, total: "array[int]", seed: int | None) -> None:
        """Start without pods and jobs."""
        self.model, self._grid, self._total = model, grid, total
        self.waiting = self.busy = self.running = 0
        self.interrupted = 0
        self.waits: Counter[int] = Counter()  # steps waited → jobs
        self.waited: list[tuple[int, int]] = []  # step, the longest wait of the jobs that began in it, if not 0
        self._free = 0
        self._arrived = 0
        self._queue: deque[list[int]] = deque()  # [step of arrival, number], oldest first
        self._starting: deque[tuple[int, int]] = deque()  # step when ready, number
        self._leaving: Counter[int] = Counter()  # jobs on pods being removed, by the step in which they end
        self._pods: list[int] = []
        self._born = 0
        self._replicas = 0
        chosen = random.Random(f"{seed}/pods")  # noqa: S311 - for simulation, repeatable
        self._dice = chosen if model.spare_busy == "off" else None

    def step(self, step: int) -> None:
        """Advance to `step`: jobs end, others arrive, pods become ready, and free threads take waiting jobs."""
        self._end(step)
        if self._leaving and (ended := self._leaving.pop(step, 0)):
            self.busy -= ended
        arrived = self._total[step] - self._arrived
        if arrived:
            self._arrived += arrived
            self._queue.append([step, arrived])
            self.waiting += arrived
        while self._starting and self._starting[0][0] <= step:
            self._ready(self._starting.popleft()[1])
        if self.waiting and self._free:
            self._take(step)

    def _take(self, step: int) -> None:
        longest, queue = step - self._queue[0][0], self._queue
        while self._free and queue:
            oldest = queue[0]
            taken = min(self._free, oldest[1])
            self._begin(step, taken)
            self.waits[step - oldest[0]] += taken
            self._free -= taken
            self.busy += taken
            self.waiting -= taken
            oldest[1] -= taken
            if not oldest[1]:
                queue.popleft()
        if longest:
            self.waited.append((step, longest))

    def next(self, step: int, limit: int) -> int:
        """Return the next step after `step` with a change, at most `limit`."""
        total, nearest = self._total, self._next_end()
        if step + 1 < len(total):
            if total[step + 1] > self._arrived:
                return step + 1
            low, high = step + 1, min(limit, nearest, len(total) - 1)
            if low < high and total[high] > self._arrived:
                while low < high:  # binary search for the first step with an arrival
                    middle = (low + high) // 2
                    low, high = (low, middle) if total[middle] > self._arrived else (middle + 1, high)
                nearest = low
        if self._starting:
            nearest = min(nearest, self._starting[0][0])
        if self._leaving:
            nearest = min(nearest, *self._leaving)
        return max(step + 1, min(nearest, limit))

    def scale(self, replicas: int, step: int) -> None:
        """Start pods, which are ready after their start-up, or remove some, first those that are not ready yet."""
        change, self._replicas = replicas - self._replicas, replicas
        if change > 0:
            ready = self._grid.first(self._grid.at(step) + self.model.startup_seconds)
            self._starting.append((max(step + 1, ready), change))
            return
        removed = -change
        while removed and self._starting:
            ready, count = self._starting.pop()
            gone = min(count, removed)
            removed -= gone
            if count > gone:
                self._starting.append((ready, count - gone))
        if removed:
            self._remove(removed, step)

    def begin_with(self, replicas: int) -> None:
        """Start with `replicas` ready pods."""
        self._replicas = replicas
        if replicas:
            self._starting.append((0, replicas))

    def oldest_seconds(self, step: int) -> float:
        """Return how many seconds the oldest job has waited."""
        return (step - self._queue[0][0]) * self._grid.seconds if self._queue else 0.0

    def busy_pods(self) -> int:
        """Return the number of pods with a running job, without pods being removed."""
        return len({job.pod for job in self._jobs()})

    def calm(self, step: int, until: int) -> "list[int] | None":
        """Return the busy threads of each step after `step` and before `until`, None if a job waits in one of them."""
        del step, until
        return None

    def skip(self, step: int) -> None:
        """Advance to `step` over steps that `calm` has returned."""
        raise NotImplementedError(step)

    def _ready(self, count: int) -> None:
        pods = range(self._born, self._born + count)
        self._born += count
        self.running += count
        self._pods.extend(pods)
        self._add(pods)
        self._free += count * self.model.per_replica

    def _remove(self, count: int, step: int) -> None:
        jobs = self._jobs()
        gone = set(victims(jobs, self._pods, count, step, self._dice))
        last = step + math.floor(self.model.grace_seconds / self._grid.seconds)
        back = 0
        self._pods = [pod for pod in self._pods if pod not in gone]
        self._keep([job for job in jobs if job.pod not in gone], gone)
        for job in jobs:
            if job.pod in gone and job.ends <= last:
                self._leaving[job.ends] += 1
            elif job.pod in gone:
                back += 1
        self.running -= count
        self._free = self.running * self.model.per_replica - sum(job.pod not in gone for job in jobs)
        self.busy -= back
        self.waiting += back
        self.interrupted += back
        if back:
            self._queue.appendleft([step, back])

    @abstractmethod
    def _end(self, step: int) -> None: ...

    @abstractmethod
    def _begin(self, step: int, jobs: int) -> None: ...

    @abstractmethod
    def _next_end(self) -> int: ...

    @abstractmethod
    def _jobs(self) -> list[Job]:
        """Return the running jobs by their beginning, without those on pods being removed."""

    @abstractmethod
    def _add(self, pods: Iterable[int]) -> None: ...

    @abstractmethod
    def _keep(self, jobs: list[Job], gone: set[int]) -> None:
        """Forget the pods in `gone`; `jobs` remain."""
