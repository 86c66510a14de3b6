"""Which processes belong to a workload, and their numbers added up."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from scaler.sources.sidekiq.fleet import Group, Processes, remembered
from scaler.sources.sidekiq.state import Process

MAX_PATTERN = 500
_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects the processes of a workload: everything that is set must fit; of `queues` a process must fetch one."""

    deployment: str | None = None
    hostname_regex: str | None = None
    tag: str | None = None
    label: str | None = None
    capsule: str | None = None
    queues: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The numbers of a workload; `processes`, `busy` and `concurrency` are without quiet processes."""

    processes: int = 0
    busy: int = 0
    concurrency: int = 0
    unclear: int = 0
    """Processes that are not quiet and whose threads or busy threads cannot be parsed."""
    unclear_busy: int = 0
    quiet: int = 0
    late: int = 0
    held: int = 0
    """Busy threads of all processes, quiet ones included."""
    doubtful: int = 0
    """Processes that may have a job of this workload but whose heartbeat cannot be parsed."""
    threads_reported: int = 0
    """Threads of all processes that report them, quiet ones included; `reporting` counts those processes."""
    reporting: int = 0

    @property
    def threads_seen(self) -> float:
        """Mean threads of the processes that report them; 0 without any."""
        return self.threads_reported / self.reporting if self.reporting else 0.0


def workload_of(processes: Processes, selection: Selection) -> Workload:
    """Return the workload of `selection`; cached for each reading and each set of processes."""
    belonging, maybe = select(processes, selection)
    key = (belonging, maybe, selection.capsule, selection.hostname_regex)
    return remembered(processes.memo, key, lambda: _work_out(processes, belonging, maybe, selection))


def select(processes: Processes, selection: Selection) -> tuple[frozenset[int], frozenset[int]]:
    """Return the groups that belong, and those that may belong but whose `info` cannot be parsed.

    Of both, only the members whose host name fits belong; see `members`.
    """
    asked = {"tag": selection.tag, "label": selection.label, "capsule": selection.capsule}
    fitting = [processes.having(kind, value) for kind, value in asked.items() if value is not None]
    if selection.queues is not None:
        fitting.append(_NONE.union(*(processes.having("queue", queue) for queue in selection.queues)))
    there = processes.everything
    if selection.deployment is not None:
        there = processes.having("deployment", selection.deployment)
    return (there.intersection(*fitting), there & processes.unknown) if fitting else (there, _NONE)


def members(group: Group, selection: Selection) -> tuple[Process, ...]:
    """Return the processes of a group of `select` that belong."""
    pattern = selection.hostname_regex
    return group.members if pattern is None else remembered(group.memo, pattern, lambda: _on_hosts(group, pattern))


def _on_hosts(group: Group, pattern: str) -> tuple[Process, ...]:
    fitting = _fitting(pattern, tuple(process.hostname for process in group.members))
    return tuple(process for position, process in enumerate(group.members) if position in fitting)


def _work_out(processes: Processes, belonging: frozenset[int], maybe: frozenset[int], selection: Selection) -> Workload:
    numbers = [_numbers(_tally(processes.groups[position], selection)) for position in belonging]
    strange = (process for position in maybe for process in members(processes.groups[position], selection))
    numbers.append(_numbers(Workload(doubtful=sum(process.busy != 0 for process in strange))))
    return Workload(*map(sum, zip(*numbers, strict=True)))


_numbers = attrgetter(*(field.name for field in fields(Workload)))


def _tally(group: Group, selection: Selection) -> Workload:
    """Return the numbers of a group, cached for each reading."""
    key = (selection.capsule, selection.hostname_regex)
    return remembered(group.memo, key, lambda: _sum(members(group, selection), selection.capsule))


@lru_cache(maxsize=2_048)
def compile_pattern(pattern: str) -> Any:
    """Return `pattern` compiled; raises `ValueError` with what is wrong.

    RE2, whose syntax Go and so KEDA uses, needs time linear in the text, so that no tenant's pattern can block the
    scaler.
    """
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; takes a megabyte that few need

    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"at most {MAX_PATTERN} characters")
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"a regular expression (RE2): {text}") from None


@lru_cache(maxsize=1 << 15)
def fits_host(pattern: str, hostname: str) -> bool:
    """Tell whether `pattern` matches a part of `hostname`."""
    return compile_pattern(pattern).search(hostname) is not None


def _fitting(pattern: str, hostnames: tuple[str, ...]) -> frozenset[int]:
    """Return the positions of the matching host names; cached, as they change far less often than busy threads."""
    return (_of_few if len(hostnames) <= FEW else _of_many)(pattern, hostnames)


def _positions(pattern: str, hostnames: tuple[str, ...]) -> frozenset[int]:
    return frozenset(position for position, hostname in enumerate(hostnames) if fits_host(pattern, hostname))


FEW = 200
_of_few, _of_many = lru_cache(maxsize=512)(_positions), lru_cache(maxsize=8)(_positions)
"""The names of 20,000 processes take 2 to 7 MB, and a hostile Redis has others at each read."""


def _sum(belonging: Iterable[Process], capsule: str | None) -> Workload:
    count = busy = concurrency = unclear = unclear_busy = quiet = late = held = doubtful = threads_reported = (
        reporting
    ) = 0
    for process in belonging:
        threads, working, unexplained = process.concurrency, process.busy, 0
        if capsule is not None:
            threads, working, unexplained = _part(process, capsule)
        held += working or 0
        doubtful += working is None or unexplained > 0
        if threads is not None:
            threads_reported += threads
            reporting += 1
        if process.quiet:
            quiet += 1
        elif process.late:
            late += 1
        elif threads is None or working is None:
            unclear += 1
            unclear_busy += working or 0
        else:
            count += 1
            busy += working
            concurrency += threads
    return Workload(
        count, busy, concurrency, unclear, unclear_busy, quiet, late, held, doubtful, threads_reported, reporting
    )


def _part(process: Process, name: str) -> tuple[int | None, int | None, int]:
    """Return the threads and busy threads of a capsule, and the busy threads that may be its own.

    `busy` is that of the whole process; only running jobs have a queue, and so a capsule.
    """
    capsules = process.info.capsules if process.info is not None else ()
    capsule = next((capsule for capsule in capsules if capsule.name == name), None)
    if capsule is None or process.jobs is None or process.busy is None:
        return None, None, 0
    working = sum(jobs for queue, jobs in process.jobs if queue in capsule.queues)
    unexplained = max(0, process.busy - sum(jobs for _, jobs in process.jobs))
    return capsule.concurrency or None, working, unexplained
