"""The numbers behind an assessment, for people."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from scaler.core.domain import Component
from scaler.sources.sidekiq.doubts import listed
from scaler.sources.sidekiq.fleet import Processes, remembered
from scaler.sources.sidekiq.workload import Workload


@dataclass(frozen=True, slots=True)
class QueueState:
    """A watched queue: its jobs, its orphans of `super_fetch`, and whether Sidekiq Pro has paused it."""

    name: str
    queued: int
    orphaned: int
    paused: bool

    @property
    def waiting(self) -> int:
        """All waiting jobs, orphans included."""
        return self.queued + self.orphaned


def components(
    queues: tuple[QueueState, ...], workload: Workload, processes: Processes, known: frozenset[str] | None
) -> Iterator[Component]:
    """Yield the queues with their fetchers, then the processes, then other queues."""
    for queue in queues:
        fetched = _fetchers(processes, queue.name)
        note = f"paused, so not counted; {fetched}" if queue.paused else fetched
        yield Component(f"waiting in {queue.name}", queue.queued, "jobs", note)
        if queue.orphaned:
            note = "in private queues of processes that are gone; a process that starts rescues them"
            yield Component(f"left behind of {queue.name}", queue.orphaned, "jobs", note)
    yield Component("busy threads", workload.busy, "threads")
    yield Component("threads", workload.concurrency, "threads")
    yield Component("processes", workload.processes, "processes")
    others = (
        ("quiet processes", workload.quiet, "take no more jobs, so no capacity; their busy threads hold"),
        ("late processes", workload.late, "no heartbeat for 30 s, so no capacity; their busy threads hold"),
        ("unclear processes", workload.unclear, "threads or busy threads cannot be understood, so skipped"),
        ("doubtful processes", workload.doubtful, "may be busy with jobs of this workload, so they hold"),
        ("ghost processes", processes.ghosts, "of this Redis: in `processes`, but without a heartbeat"),
        ("strangers", processes.strangers, "members of `processes` of this Redis that are no heartbeat, so skipped"),
    )
    for name, count, note in others:
        if count:
            yield Component(name, count, "processes", note)
    if known is None:
        yield Component(
            "known queues", 0, "queues", "`queues` may not be read, or is too large: misspelt names are not noticed"
        )
    else:
        yield Component("known queues", len(known), "queues", _named(known))


def _fetchers(processes: Processes, queue: str) -> str:
    """Return the processes that fetch `queue`, cached for each reading."""

    def fetchers() -> str:
        groups = [processes.groups[position] for position in processes.having("queue", queue)]
        count = sum(len(group.members) for group in groups)
        owners = frozenset[str]().union(*(group.owners for group in groups))
        return f"fetched by {count} processes of {listed(owners)}" if count else "no process fetches it now"

    return remembered(processes.memo, ("fetchers", queue), fetchers)


@lru_cache(maxsize=64)
def _named(known: frozenset[str]) -> str:
    return listed(known) or "no queue ever had a job here"
