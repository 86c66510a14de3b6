"""The formulas of source `sidekiq`: from counts and times to the values that the HPA compares with targets."""

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from scaler.sources.sidekiq.state import Due, Oldest
from scaler.sources.sidekiq.workload import Workload

_MARGIN_SECONDS = 0.001
"""Times are floats; with this margin a trigger is judged again just after a moment, never just before."""
AHEAD_SECONDS = 5.0
"""A job that came later than this after the present has its time from a clock that is wrong, or in another unit."""


@dataclass(frozen=True, slots=True)
class BusyAim:
    """The settings of a trigger for its busy metric."""

    ratio: float
    average: bool
    """`AverageValue`: the HPA divides by the number of pods. Otherwise `Value`, and it does not."""
    count_waiting: bool = False
    threads: int | None = None
    """Threads of a process, if the trigger sets them."""


def busy_value(aim: BusyAim, workload: Workload, waiting: int) -> float:
    """Return the busy metric: the number of fully busy processes (`AverageValue`) or the share of busy threads.

    The HPA divides the former by the number of pods, and so compares the same share in both cases. If no process
    reports its threads, there is no share. Then `waiting` jobs ask for one process, or with `count_waiting` and known
    threads for as many as they need; and the number of processes that cannot be parsed stays as it is.
    """
    counted = waiting if aim.count_waiting else 0
    if workload.processes:
        share = (workload.busy + counted) / workload.concurrency
        return share * workload.processes if aim.average else share
    present = aim.ratio * max(1, workload.unclear) if aim.average else aim.ratio
    if waiting:
        threads = aim.threads or workload.threads_seen
        return max(present, counted / threads) if threads else present
    return present if workload.unclear_busy or (workload.unclear and workload.doubtful) else 0.0


def latency(jobs: Iterable[Oldest], now: float, *, target: float) -> float:
    """Return how long the oldest of `jobs` has waited at Unix time `now`, in seconds.

    A job without a credible time counts as `target`, which asks for neither more nor fewer processes.
    """
    return max((_age(job, now, target) for job in jobs if job.exists), default=0.0)


def _age(job: Oldest, now: float, target: float) -> float:
    age = -math.inf if job.since is None else job.clock.to_redis(now) - job.since
    return target if age < -AHEAD_SECONDS else max(0.0, age)


def from_future(jobs: Iterable[Oldest], now: float) -> bool:
    """Tell whether the time of one of `jobs` lies ahead of Redis' clock, so that it is not known how long it waits."""
    return any(job.since is not None and job.since - job.clock.to_redis(now) > AHEAD_SECONDS for job in jobs)


def due_soon(due: Due, queues: Collection[str], lead: float, now: float) -> tuple[int, float]:
    """Return how many jobs of `queues` are due within `lead` seconds of Unix time `now`, and when that changes.

    Jobs without a readable queue count for every queue, and so do jobs beyond the end of a full page, because the first
    process that runs moves all of them to their queues.
    """
    horizon = due.clock.to_redis(now) + lead
    count, following = 0, math.inf
    for queue, times in due.times.items():
        if queue is None or queue in queues:
            position = bisect_right(times, horizon)
            count += position
            if position < len(times):
                following = min(following, times[position])
    if due.complete_until <= horizon:
        count = max(count, 1)
    else:
        following = min(following, due.complete_until)
    return count, due.clock.to_wall(following - lead) + _MARGIN_SECONDS
