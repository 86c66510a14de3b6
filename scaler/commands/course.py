"""The results of a simulation: the changes in each step, and the totals."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, repeat
from typing import Any, TypeVar

from scaler.commands.grid import Grid

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Waits:
    """Waiting times of jobs for a free thread: the number of jobs for each time in seconds, ascending."""

    times: tuple[float, ...]
    jobs: tuple[int, ...]

    @classmethod
    def of(cls, counted: Counter[int], seconds: float) -> "Waits":
        """Return the waits for counts in steps of `seconds`."""
        found = sorted((steps, jobs) for steps, jobs in counted.items() if jobs)
        return cls(tuple(steps * seconds for steps, _ in found), tuple(jobs for _, jobs in found))

    def percentile(self, share: float) -> float | None:
        """Return the shortest time that at least `share` percent of the jobs did not exceed; None without jobs."""
        needed = math.ceil(sum(self.jobs) * share / 100)
        for time, so_far in zip(self.times, accumulate(self.jobs), strict=True):
            if so_far >= needed:
                return time
        return None


@dataclass(slots=True)
class Change:
    """The state from a step on until the next change."""

    step: int
    value: float
    active: bool
    replicas: int
    asked: int | None  # replicas by the metrics alone, at the HPA's last sync
    backlog: float


@dataclass
class Run:
    """One simulation: the totals, and unless only these were wanted, the changes."""

    grid: Grid
    wake_ups: int = 0
    interrupted: int | None = None
    wait: Waits | None = None  # only if workers were modelled
    waited: list[tuple[int, int]] = field(default_factory=list)  # step, longest wait in steps of jobs that began in it
    replica_steps: int = 0
    max_replicas: int = 0
    max_backlog: float = 0
    changes: list[Change] = field(default_factory=list)

    @property
    def replica_hours(self) -> float:
        """The replicas added up over time."""
        return self.replica_steps * self.grid.seconds / 3600

    @property
    def seconds(self) -> float:
        """From the first step to the last."""
        return (self.grid.steps - 1) * self.grid.seconds

    def summary(self, price: float | None = None) -> dict[str, Any]:
        """Return the totals; waiting times and interrupted jobs only if workers were modelled.

        `price` is that of a replica-hour; with it the cost is told, too.
        """
        found: dict[str, Any] = {
            "seconds": round(self.seconds, 3),
            "replicaHours": round(self.replica_hours, 4),
            **({} if price is None else {"cost": round(self.replica_hours * price, 4)}),
            "maxReplicas": self.max_replicas,
            "wakeUps": self.wake_ups,
            "maxBacklog": self.max_backlog,
        }
        if self.wait is not None:
            found["jobs"] = sum(self.wait.jobs)
            found["interruptedJobs"] = self.interrupted
            found |= {f"waitP{share}": self.wait.percentile(share) for share in (50, 95, 99)}
            found["waitMax"] = self.wait.times[-1] if self.wait.times else None
        return found

    @cached_property
    def times(self) -> list[float]:
        """The time of each step."""
        return [self.grid.at(step) for step in range(self.grid.steps)]

    @cached_property
    def values(self) -> list[float]:
        """The first metric in each step."""
        return self._steps(change.value for change in self.changes)

    @cached_property
    def active(self) -> list[bool]:
        """Whether KEDA was told active in each step."""
        return self._steps(change.active for change in self.changes)

    @cached_property
    def replicas(self) -> list[int]:
        """The replicas after each step."""
        return self._steps(change.replicas for change in self.changes)

    @cached_property
    def backlog(self) -> list[float]:
        """The waiting and running jobs in each step; without modelled workers, the value."""
        return self._steps(change.backlog for change in self.changes)

    @property
    def waits(self) -> list[tuple[float, int]] | None:
        """Seconds waited, each with the number of jobs."""
        return None if self.wait is None else list(zip(self.wait.times, self.wait.jobs, strict=True))

    def steps(self) -> list[dict[str, Any]]:
        """Return one object for each step."""
        return [
            {"time": time, "value": value, "active": active, "replicas": replicas}
            for time, value, active, replicas in zip(self.times, self.values, self.active, self.replicas, strict=True)
        ]

    def _steps(self, column: Iterable[_T]) -> list[_T]:
        begins = [change.step for change in self.changes]
        lengths = (end - begin for begin, end in zip(begins, (*begins[1:], self.grid.steps), strict=True))
        return list(chain.from_iterable(repeat(cell, length) for cell, length in zip(column, lengths, strict=True)))
