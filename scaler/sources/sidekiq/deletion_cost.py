"""The price of a pod's deletion in work: its number for `controller.kubernetes.io/pod-deletion-cost`; and who is busy."""

import math
from collections.abc import Iterable, Mapping

from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.state import Process
from scaler.sources.sidekiq.workload import Selection, members, select

IDLE = 0
LEAST_BUSY = 1


def deletion_costs(processes: Processes, selection: Selection, now: float) -> Mapping[str, int]:
    """Return the cost of each pod of the workload by host name, at Unix time `now`.

    All work of the pod counts, also that of processes beside the chosen ones: its deletion ends all of them.
    """
    return {hostname: deletion_cost(processes.by_host[hostname], now) for hostname in _hosts(processes, selection)}


def deletion_cost(pod: Iterable[Process], now: float) -> int:
    """Return what the deletion of a pod with these processes costs at Unix time `now`.

    Idle is 0. Busy is 1 + ⌊log2(thread-seconds)⌋ of the work that would be lost, which is the sum over its busy threads
    of the time since their jobs began, and at least 1. A pod that is quiet takes no more jobs and ends anyway, so it is
    the cheapest of the busy ones: 1. The powers of two keep the number the same for as long as it has lasted.
    """
    pod = tuple(pod)
    if not any(map(is_busy, pod)):
        return IDLE
    if all(process.quiet for process in pod):
        return LEAST_BUSY
    seconds = sum(max(0.0, now - began) for process in pod for began in process.began)
    return LEAST_BUSY + max(0, math.floor(math.log2(seconds))) if seconds >= 1.0 else LEAST_BUSY


def held_pods(processes: Processes, selection: Selection) -> tuple[int, int]:
    """Return how many pods of the workload have a busy thread and are not quiet, and how many are not quiet at all."""
    held = there = 0
    for hostname in _hosts(processes, selection):
        taking = [process for process in processes.by_host[hostname] if not process.quiet]
        there += bool(taking)
        held += any(map(is_busy, taking))
    return held, there


def is_busy(process: Process) -> bool:
    """Tell whether a process works, or may work: one that does not tell is not taken for idle."""
    return process.busy != 0 or bool(process.jobs)


def _hosts(processes: Processes, selection: Selection) -> tuple[str, ...]:
    belonging, _ = select(processes, selection)
    found = {process.hostname for position in belonging for process in members(processes.groups[position], selection)}
    return tuple(sorted(found))
