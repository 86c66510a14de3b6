"""Which processes belong to a workload, and what they amount to."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scaler.sources.sidekiq.state import Process, Processes

MAX_PATTERN = 500
_POD = re.compile(r"(?P<deployment>.+)-[a-z0-9]{1,10}-[a-z0-9]{5}")
"""A Deployment's pods: its name, the hash of the ReplicaSet, five random characters."""
_NONE: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Selection:
    """What a process must be to belong: everything given must fit. Of `queues` it must fetch one."""

    deployment: str | None = None
    hostname_regex: str | None = None
    tag: str | None = None
    label: str | None = None
    capsule: str | None = None
    queues: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The processes of a workload in numbers; `processes`, `busy` and `concurrency` are of those that take jobs."""

    processes: int = 0
    busy: int = 0
    concurrency: int = 0
    unclear: int = 0
    """Processes that take jobs but do not tell how many they can take or have."""
    unclear_busy: int = 0
    quiet: int = 0
    late: int = 0
    held: int = 0
    """Busy threads of all processes, those included that take no more jobs."""
    doubtful: int = 0
    """Processes that may hold a job of this workload without telling it in a way that can be understood."""
    threads_seen: float = 0.0
    """Mean threads of the processes that tell them, those included that take no more jobs; 0 without any."""


def workload_of(processes: Processes, selection: Selection) -> Workload:
    """Return the workload of `selection`; worked out once for each reading and each set of processes."""
    index = processes.memo.get(None)
    if index is None:
        index = processes.memo[None] = _Index(processes.live)
    belonging, maybe = index.select(selection)
    key = (belonging, maybe, selection.capsule)
    found = processes.memo.get(key)
    if found is None:
        live = processes.live
        doubtful = sum(live[position].busy != 0 for position in maybe)
        found = _sum((live[position] for position in belonging), selection.capsule, doubtful)
        processes.memo[key] = found
    workload: Workload = found
    return workload


def deployment_of(hostname: str) -> str | None:
    """Return the Deployment whose pod has this host name."""
    match = _POD.fullmatch(hostname)
    return match["deployment"] if match else None


@lru_cache(maxsize=2_048)
def compile_pattern(pattern: str) -> Any:
    """Return `pattern` compiled; raises `ValueError` with what is wrong.

    RE2, which Go and so KEDA uses, needs time linear in the text: no pattern of a tenant can stop the scaler.
    """
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - ships no types; a megabyte that few need

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


@lru_cache(maxsize=1 << 16)
def _fits(pattern: str, hostname: str) -> bool:
    return compile_pattern(pattern).search(hostname) is not None


@lru_cache(maxsize=2_048)
def _fitting(pattern: str, hostnames: tuple[str, ...]) -> frozenset[int]:
    """Return the positions of the host names with a part that fits: they change far less often than busy threads."""
    return frozenset(position for position, hostname in enumerate(hostnames) if _fits(pattern, hostname))


class _Index:
    """Positions of the processes by what can be asked of them, so that 500 workloads do not each look at all."""

    def __init__(self, live: tuple[Process, ...]) -> None:
        self._everything = frozenset(range(len(live)))
        self._hostnames = tuple(process.hostname for process in live)
        self._unknown = frozenset(position for position in self._everything if live[position].info is None)
        groups: defaultdict[tuple[str, str | None], set[int]] = defaultdict(set)
        for position, process in enumerate(live):
            for question in _told(process):
                groups[question].add(position)
        self._groups = {question: frozenset(positions) for question, positions in groups.items()}

    def select(self, selection: Selection) -> tuple[frozenset[int], frozenset[int]]:
        """Return the processes that belong, and those that nothing speaks against but their garbled `info`."""
        there = self._everything
        if selection.deployment is not None:
            there &= self._group("deployment", selection.deployment)
        if selection.hostname_regex is not None:
            there &= _fitting(selection.hostname_regex, self._hostnames)
        asked = {"tag": selection.tag, "label": selection.label, "capsule": selection.capsule}
        fitting = [self._group(kind, value) for kind, value in asked.items() if value is not None]
        if selection.queues is not None:
            fitting.append(_NONE.union(*(self._group("queue", queue) for queue in selection.queues)))
        if not fitting:
            return there, _NONE
        return there.intersection(*fitting), there & self._unknown

    def _group(self, kind: str, value: str) -> frozenset[int]:
        return self._groups.get((kind, value), _NONE)


def _told(process: Process) -> Iterator[tuple[str, str | None]]:
    """Return what a process can be chosen by."""
    yield "deployment", deployment_of(process.hostname)
    if process.info is not None:
        yield "tag", process.info.tag
        yield from (("label", label) for label in process.info.labels)
        yield from (("queue", queue) for queue in process.info.queues)
        yield from (("capsule", capsule.name) for capsule in process.info.capsules)


def _sum(belonging: Iterable[Process], capsule: str | None, doubtful: int) -> Workload:
    count = busy = concurrency = unclear = unclear_busy = quiet = late = held = 0
    seen: list[int] = []
    for process in belonging:
        threads, working, unexplained = process.concurrency, process.busy, 0
        if capsule is not None:
            threads, working, unexplained = _part(process, capsule)
        held += working or 0
        doubtful += working is None or unexplained > 0
        if threads is not None:
            seen.append(threads)
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
    mean = sum(seen) / len(seen) if seen else 0.0
    return Workload(count, busy, concurrency, unclear, unclear_busy, quiet, late, held, doubtful, mean)


def _part(process: Process, name: str) -> tuple[int | None, int | None, int]:
    """Return threads and busy threads of a capsule, and busy threads that may be its own.

    `busy` is of the whole process; only the jobs under way tell their queue, and so their capsule.
    """
    capsules = process.info.capsules if process.info is not None else ()
    capsule = next((capsule for capsule in capsules if capsule.name == name), None)
    if capsule is None or process.jobs is None or process.busy is None:
        return None, None, 0
    working = sum(jobs for queue, jobs in process.jobs if queue in capsule.queues)
    unexplained = max(0, process.busy - sum(jobs for _, jobs in process.jobs))
    return capsule.concurrency or None, working, unexplained
