"""The processes of one Redis, read in pages; each page is parsed before the next one is asked for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from scaler.clients.redis.faults import Command
from scaler.core.errors import Unavailable
from scaler.sources.redis_places import REST, Answers, RedisClock
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.fleet import WATCHED, Grouping, Processes
from scaler.sources.sidekiq.page_size import PageSize
from scaler.sources.sidekiq.places import SidekiqPlace
from scaler.sources.sidekiq.state import Process

FIRST_PAGE = 16
PAGE = 256
"""Heartbeats in one round trip."""
ROUND_BYTES = 128 << 10
"""Bytes of heartbeats in one round trip, if they are not larger than those before."""
MAX_KEPT_BYTES = 64 << 20
"""Limit for all parsed processes: 150,000 with equal infos, or 28 MB of different queue names."""
PROCESS_BYTES = 400
MAX_IDENTITY = 300
"""Bytes of an identity, `hostname:pid:nonce`: a host name has at most 255. What is longer is no process."""


@dataclass(frozen=True, slots=True)
class ProcessSet(SidekiqPlace):
    """All processes; with `jobs`, also their running jobs."""

    min_refresh_seconds: ClassVar[float] = 1.0  # a beat comes every 5 s (Sidekiq 6) or 10 s

    jobs: bool

    def __str__(self) -> str:
        return f"Sidekiq processes of {self.redis}"

    def first(self) -> Iterable[Command]:
        """Ask for the identities of the processes."""
        yield ("SMEMBERS", f"{self.prefix}processes")

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Ask for the first heartbeats."""
        del now
        identities = state.parse_set(answers["SMEMBERS", f"{self.prefix}processes"])
        known = tuple(identity for identity in identities if len(identity) <= MAX_IDENTITY)
        pages = answers.kept[self] = _Pages(self.prefix.encode(), known, jobs=self.jobs)
        pages.strangers = len(identities) - len(known)
        return pages.ask()

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Take a page, and ask for the next one."""
        pages: _Pages = answers.kept[self]
        yield from pages.take(answers, now)
        yield from pages.ask()

    def presence(self, value: Processes) -> bool | None:
        """Tell whether a process is busy, or none is there, not even a killed one."""
        if value.working:
            return True
        return None if value.live or value.ghosts or value.strangers else False

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Processes:
        """Return the processes that have a heartbeat."""
        del now, clock
        pages: _Pages = answers.kept[self]
        return Processes.grouped(pages.live, pages.grouping, pages.ghosts, pages.strangers)


class _Pages:
    """The state of one read."""

    def __init__(self, prefix: bytes, identities: tuple[bytes, ...], *, jobs: bool) -> None:
        self.live: list[Process] = []
        self.grouping = Grouping(WATCHED.names())
        self.ghosts = self.strangers = 0
        self._prefix = prefix
        self._identities = identities
        self._jobs = jobs
        self._asked: tuple[bytes, ...] = ()
        self._position = 0
        self._size = PageSize(FIRST_PAGE, PAGE, ROUND_BYTES)
        self._busy: list[int] = []  # positions in `live` whose jobs are still to be read
        self._asked_jobs: list[int] = []
        self._threads = PageSize(FIRST_PAGE, PAGE)
        self._bytes = 0
        self._infos: set[int] = set()

    def ask(self) -> Iterator[Command]:
        """Return the commands for the next heartbeats, and for the jobs of those that came before."""
        self._asked = self._identities[self._position : self._position + self._size.entries]
        self._position += len(self._asked)
        for identity in self._asked:
            yield from self._heartbeat(identity)
        self._asked_jobs, threads = [], 0
        while self._busy and (not threads or threads + self._threads_of(self._busy[-1]) <= self._threads.entries):
            position = self._busy.pop()
            threads += self._threads_of(position)
            self._asked_jobs.append(position)
            yield from self._work(position)

    def take(self, answers: Answers, now: float) -> Iterator[Command]:
        """Take the answers to `ask`, with a `REST` before each."""
        largest = 1
        for identity in self._asked:
            yield REST
            fields, pttl = self._heartbeat(identity)
            if answers.no_hash(fields):
                self.strangers += 1
                continue
            heartbeat = answers[fields]
            largest = max(largest, _size(heartbeat))
            self._add(state.parse_process(identity, heartbeat, answers[pttl], now))
        self._size.learn(largest)
        yield from self._take_jobs(answers)

    def _add(self, process: Process | None) -> None:
        if process is None:
            self.ghosts += 1
            return
        self._count(process)
        if self._jobs:
            if process.busy != 0:
                self._busy.append(len(self.live))
            else:
                process = state.with_jobs(process)
        self.live.append(process)
        self.grouping.add(process)

    def _take_jobs(self, answers: Answers) -> Iterator[Command]:
        largest = 1
        for position in self._asked_jobs:
            yield REST
            hashes = [answers[command] for command in self._work(position) if not answers.no_hash(command)]
            largest = max(largest, *(_size(answer) // self._threads_of(position) for answer in hashes), 1)
            if hashes:
                self.live[position] = state.with_jobs(self.live[position], *hashes)
        self._threads.learn(largest)

    def _heartbeat(self, identity: bytes) -> tuple[Command, Command]:
        key = self._prefix + identity
        return ("HMGET", key, *state.HEARTBEAT_FIELDS), ("PTTL", key)

    def _work(self, position: int) -> tuple[Command, Command]:
        key = self._prefix + self.live[position].identity.encode()
        return ("HGETALL", key + b":work"), ("HGETALL", key + b":workers")  # `:workers` is the name up to Sidekiq 6.4.1

    def _threads_of(self, position: int) -> int:
        process = self.live[position]
        return max(1, process.busy or process.concurrency or 1)

    def _count(self, process: Process) -> None:
        """Raise `Unavailable` if the processes take too much memory: a tenant's Redis may hold anything."""
        self._bytes += PROCESS_BYTES + len(process.identity)
        info = process.info
        if info is not None and id(info) not in self._infos:
            self._infos.add(id(info))  # the process keeps its info alive, so the id stays unique
            self._bytes += info.size
        if self._bytes > MAX_KEPT_BYTES:
            raise Unavailable(
                f"{len(self.live)} processes and the names of their queues take more than {MAX_KEPT_BYTES >> 20} MiB; "
                "if these are not the processes of Sidekiq, give this workload a Redis database of its own"
            )


def _size(answer: Any) -> int:
    """Return the number of bytes in an answer that is a list."""
    return sum(len(part) for part in answer if isinstance(part, bytes)) if isinstance(answer, list) else 1
