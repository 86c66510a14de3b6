"""The two kinds of workers: with equal and with random running times of jobs."""

import random
from array import array
from collections import Counter, deque
from collections.abc import Iterable
from heapq import heappop, heappush
from math import log
from operator import sub

from scaler.commands.grid import Grid
from scaler.commands.work import NEVER, Job, Work, WorkerModel


def working(model: WorkerModel, grid: Grid, total: "array[int]", seed: int | None) -> Work:
    """Return workers for jobs of which `total` have arrived up to each step; with a seed their times are random."""
    return EvenWork(model, grid, total) if seed is None else RandomWork(model, grid, total, seed)


class EvenWork(Work):
    """Workers with equal running times: jobs end in the order in which they began, and threads take turns.

    `_ring` has the pod of each thread: first the free threads, the longest free one in front, then the busy ones in the
    order of their jobs. To begin jobs the ring is rotated; to end them only the border between both parts moves. While
    nothing waits, jobs begin when they arrive, so the number of busy threads is the arrivals of the last `service`
    steps; then `_calm` is set, and `_batches` is not kept.
    """

    def __init__(self, model: WorkerModel, grid: Grid, total: "array[int]") -> None:
        """Start without pods and jobs."""
        super().__init__(model, grid, total, None)
        self._service = max(1, round(model.service_seconds / grid.seconds))
        self._before = array("q", [0]) * (self._service + 1) + total  # `_before[step + 1]` arrived before `service`
        self._ring: deque[int] = deque()
        self._batches: deque[tuple[int, int]] = deque()  # step of beginning, number
        self._late = -1 - self._service  # the last step in which a job may have begun later than it arrived
        self._calm = False
        self._now = -1

    def step(self, step: int) -> None:
        """Advance to `step`."""
        self._now = step
        if self._calm:
            arrived = self._total[step] - self._arrived
            busy = self._total[step] - self._before[step + 1]
            if busy <= len(self._ring) and not (self._starting and self._starting[0][0] <= step):
                self._turn(arrived, busy)
                return
            self._batches.extend(self._recent(step - 1))
            self._calm = False
        waited = self.waiting > 0
        super().step(step)
        if waited or self.waiting or self._leaving:
            self._late = step
        elif step - self._service >= self._late:
            self._calm = True
            self._batches.clear()

    def calm(self, step: int, until: int) -> "list[int] | None":
        """Return the busy threads of each step after `step` and before `until`, None if a job waits in one of them."""
        if not self._calm:
            return None
        if self._starting:
            until = min(until, self._starting[0][0])
        busy = list(map(sub, self._total[step + 1 : until], self._before[step + 2 : until + 1]))
        return busy if not busy or max(busy) <= len(self._ring) else None

    def skip(self, step: int) -> None:
        """Advance to `step` over steps that `calm` has returned."""
        self._now = step
        self._turn(self._total[step] - self._arrived, self._total[step] - self._before[step + 1])

    def next(self, step: int, limit: int) -> int:
        """Return the next step after `step` with a change, at most `limit`."""
        return min(step + 1, limit) if self._calm and self.busy else super().next(step, limit)

    def scale(self, replicas: int, step: int) -> None:
        """Start or remove pods."""
        if self._calm:
            self._batches.extend(self._recent(step))
            self._calm = False
        super().scale(replicas, step)

    def _turn(self, arrived: int, busy: int) -> None:
        if arrived:
            self._arrived += arrived
            self.waits[0] += arrived
            self._ring.rotate(-arrived)
        self.busy = busy
        self._free = len(self._ring) - busy

    def _recent(self, step: int) -> list[tuple[int, int]]:
        """Return the batches that run after `step`, if each began when it arrived."""
        total, first = self._total, max(0, step - self._service + 1)
        begun = ((at, total[at] - (total[at - 1] if at else 0)) for at in range(first, step + 1))
        return [(at, jobs) for at, jobs in begun if jobs]

    def _end(self, step: int) -> None:
        batches, over = self._batches, step - self._service
        while batches and batches[0][0] <= over:
            jobs = batches.popleft()[1]
            self.busy -= jobs
            self._free += jobs

    def _begin(self, step: int, jobs: int) -> None:
        self._ring.rotate(-jobs)
        if self._batches and self._batches[-1][0] == step:
            jobs += self._batches.pop()[1]
        self._batches.append((step, jobs))

    def _next_end(self) -> int:
        return self._batches[0][0] + self._service if self._batches else NEVER

    def _jobs(self) -> list[Job]:
        batches = self._recent(self._now) if self._calm else self._batches
        begun = [step for step, jobs in batches for _ in range(jobs)]
        threads = list(self._ring)[len(self._ring) - len(begun) :]
        return [Job(pod, step, step + self._service) for pod, step in zip(threads, begun, strict=True)]

    def _add(self, pods: Iterable[int]) -> None:
        busy = len(self._ring) - self._free
        self._ring.rotate(busy)  # new threads come after the other free ones
        self._ring.extend([*pods] * self.model.per_replica)
        self._ring.rotate(-busy)

    def _keep(self, jobs: list[Job], gone: set[int]) -> None:
        self._ring = deque(pod for pod in self._ring if pod not in gone)
        self._batches = deque(sorted(Counter(job.began for job in jobs).items()))


class RandomWork(Work):
    """Workers with exponentially distributed running times, so each job is stored separately."""

    def __init__(self, model: WorkerModel, grid: Grid, total: "array[int]", seed: int) -> None:
        """Start without pods and jobs."""
        super().__init__(model, grid, total, seed)
        self._mean = model.service_seconds / grid.seconds
        self._service = random.Random(f"{seed}/service")  # noqa: S311 - a simulation that can be repeated
        self._threads: deque[int] = deque()  # the pods of free threads, the longest free one in front
        self._ends: dict[int, list[tuple[int, int]]] = {}  # by step: pod and beginning of the jobs that end in it
        self._when: list[int] = []  # a heap of the keys of `_ends`

    def _end(self, step: int) -> None:
        while self._when and self._when[0] <= step:
            ended = self._ends.pop(heappop(self._when))
            self._threads.extend([pod for pod, _ in ended])
            self.busy -= len(ended)
            self._free += len(ended)

    def _begin(self, step: int, jobs: int) -> None:
        draw, mean, take, all_ends = self._service.random, self._mean, self._threads.popleft, self._ends
        for _ in range(jobs):
            ends = step + (round(-mean * log(1.0 - draw())) or 1)
            job = (take(), step)
            if ends in all_ends:
                all_ends[ends].append(job)
            else:
                all_ends[ends] = [job]
                heappush(self._when, ends)

    def _next_end(self) -> int:
        return self._when[0] if self._when else NEVER

    def _jobs(self) -> list[Job]:
        jobs = [Job(pod, began, ends) for ends, some in self._ends.items() for pod, began in some]
        return sorted(jobs, key=lambda job: (job.began, job.pod, job.ends))

    def _add(self, pods: Iterable[int]) -> None:
        self._threads.extend([*pods] * self.model.per_replica)

    def _keep(self, jobs: list[Job], gone: set[int]) -> None:
        del jobs
        self._threads = deque(pod for pod in self._threads if pod not in gone)
        kept = ((ends, [job for job in some if job[0] not in gone]) for ends, some in self._ends.items())
        self._ends = {ends: some for ends, some in kept if some}
        self._when = sorted(self._ends)
