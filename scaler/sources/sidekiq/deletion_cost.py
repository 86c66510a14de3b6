"""The value of `controller.kubernetes.io/pod-deletion-cost` of a Sidekiq pod: how much running work it has."""

import math
from collections.abc import Iterable, Mapping

from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.state import Process
from scaler.sources.sidekiq.workload import Selection, members, select

IDLE = 0
LEAST_BUSY = 1


def deletion_costs(processes: Processes, selection: Selection, now: float) -> Mapping[str, int]:
    """Return the cost of each pod of the workload by host name, at Unix time `now`.

    All work of the pod counts, also that of processes outside the selection, because deleting the pod ends all of them.
    """
    return {hostname: deletion_cost(processes.by_host[hostname], now) for hostname in _hosts(processes, selection)}


def deletion_cost(pod: Iterable[Process], now: float) -> int:
    """Return the deletion cost of a pod with these processes at Unix time `now`.

    An idle pod costs 0. A busy one costs 1 + ⌊log2(thread-seconds)⌋, at least 1, where thread-seconds is the time since
    its running jobs began, added up over its busy threads: the work that would be lost. A quiet pod takes no more jobs
    and will end anyway, so it costs 1, the least of the busy ones. Because of the logarithm the cost changes ever more
    rarely.
    """
    pod = tuple(pod)
    if not any(map(is_busy, pod)):
        return IDLE
    if all(process.quiet for process in pod):
        return LEAST_BUSY
    seconds = sum(max(0.0, now - began) for process in pod for began in process.began)
    return LEAST_BUSY + max(0, math.floor(math.log2(seconds))) if seconds >= 1.0 else LEAST_BUSY


def held_pods(processes: Processes, selection: Selection) -> tuple[int, int]:
    """Return how many pods of the workload are busy and not quiet, and how many are not quiet."""
    held = there = 0
    for hostname in _hosts(processes, selection):
        taking = [process for process in processes.by_host[hostname] if not process.quiet]
        there += bool(taking)
        held += any(map(is_busy, taking))
    return held, there


def is_busy(process: Process) -> bool:
    """Tell whether a process has or may have a running job; an unknown state does not count as idle."""
    return process.busy != 0 or bool(process.jobs)


def _hosts(processes: Processes, selection: Selection) -> tuple[str, ...]:
    belonging, _ = select(processes, selection)
    found = {process.hostname for position in belonging for process in members(processes.groups[position], selection)}
    return tuple(sorted(found))
