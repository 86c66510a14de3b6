"""Readings made up from counts, which `simulate` uses instead of a real Redis."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from scaler.core.domain import Place, Readings
from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.info import Capsule, Info
from scaler.sources.sidekiq.known_queues import Known
from scaler.sources.sidekiq.plan import Plan
from scaler.sources.sidekiq.private_queues import Orphans
from scaler.sources.sidekiq.state import Depth, Due, Oldest, Process
from scaler.sources.sidekiq.workload import Selection, compile_pattern

USUAL_CONCURRENCY = 5
"""The default threads of a process (Sidekiq 7 and newer)."""
_CLOCK = RedisClock(0.0)
_NOTHING_DUE = Due(MappingProxyType({}), float("inf"), _CLOCK)


def imagined(plan: Plan, selection: Selection, counts: Mapping[str, float], at: tuple[int, float]) -> Readings:
    """Return a reading of every place of `plan`; `at` is the number of processes and the Unix time.

    Raises `ValueError` if no host name can be made up that fits `selection`.
    """
    replicas, now = at
    concurrency = round(counts.get("concurrency", USUAL_CONCURRENCY))
    waiting, busy = (round(counts.get(name, 0)) for name in ("waiting", "busy"))
    readings: dict[Place, object] = {plan.due: _NOTHING_DUE}
    readings |= {place: Depth(0, paused=False) for place in plan.depths}
    readings[plan.depths[0]] = Depth(waiting, paused=False)
    age = counts.get("latency", 0.0)
    readings |= {place: Oldest(exists=False, since=None, clock=_CLOCK) for place in plan.oldest}
    if waiting and plan.oldest:
        readings[plan.oldest[0]] = Oldest(exists=True, since=now - age, clock=_CLOCK)
    queues = frozenset(place.queue for place in plan.depths)
    readings[plan.processes] = Processes(tuple(_processes(selection, queues, replicas, (busy, concurrency))))
    readings[plan.known] = Known(queues)
    if plan.private is not None:
        readings[plan.private] = Orphans()
    return readings


def _processes(
    selection: Selection, queues: frozenset[str], replicas: int, threads: tuple[int, int]
) -> Iterator[Process]:
    """Distribute the busy threads evenly over the processes."""
    busy, concurrency = threads
    capsules = (Capsule(selection.capsule, concurrency, queues),) if selection.capsule else ()
    labels = frozenset((selection.label,) if selection.label else ())
    info = Info(selection.tag or "", labels, selection.queues or queues, capsules, concurrency)
    hostname = f"{selection.deployment or 'imagined'}-5d4f9c7b48-abcde"
    if selection.hostname_regex is not None and compile_pattern(selection.hostname_regex).search(hostname) is None:
        hostname = selection.hostname_regex.strip("^$")
        if compile_pattern(selection.hostname_regex).search(hostname) is None:
            raise ValueError("hostnameRegex: no host name can be made up that fits; replay a trace of `value` instead")
    for number in range(replicas):
        pod = f"{hostname.removesuffix('abcde')}{number:05d}"  # a different pod for each, if the pattern allows it
        if selection.hostname_regex is not None and compile_pattern(selection.hostname_regex).search(pod) is None:
            pod = hostname
        share = busy // replicas + (number < busy % replicas)
        jobs = tuple((queue, share) for queue in sorted(queues)[:1])
        yield Process(f"{pod}:1:{number:012x}", info, share, concurrency, quiet=False, late=False, jobs=jobs)
