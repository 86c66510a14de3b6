"""The queues that Sidekiq knows, and where a queue that it does not know may be instead."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scaler.clients.redis.faults import Command
from scaler.clients.redis.role import fields_of
from scaler.sources.redis_places import Answers, RedisClock
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.places import SidekiqPlace

MAX_QUEUES = 20_000
SCAN_KEYS = 1_000
SCAN_STEPS = 10
"""Enough for a small Redis; in a large one a hint may be missing."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the whole: `names` of the queues, None where they may not be read or are too many.

    `evicted` is how many keys Redis has thrown out for want of memory since it started, by `policy`; 0 where it does not
    do so or does not say.
    """

    names: frozenset[str] | None
    evicted: int = 0
    policy: str = ""


@dataclass(frozen=True, slots=True)
class KnownQueues(SidekiqPlace):
    """The set `queues`: the names of all queues that ever had a job (sidekiq client.rb); and whether keys get lost."""

    min_refresh_seconds: ClassVar[float] = 10.0  # it only serves hints for people

    def __str__(self) -> str:
        return f"names of Sidekiq's queues of {self.redis}"

    def first(self) -> tuple[Command, Command, Command]:
        """Ask for all names, to find the most similar one, and for keys that were evicted."""
        return ("SMEMBERS", f"{self.prefix}queues"), ("INFO", "stats"), ("INFO", "memory")

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Known:
        """Return what was found; it only serves hints."""
        del now, clock
        names, stats, memory = self.first()
        fields = (
            {}
            if answers.refused(stats) or answers.refused(memory)
            else fields_of(answers[stats]) | fields_of(answers[memory])
        )
        policy = fields.get(b"maxmemory_policy", b"noeviction").decode("ascii", "replace")[:64]
        evicted_keys = fields.get(b"evicted_keys", b"")
        evicted = int(evicted_keys[:18]) if evicted_keys.isdigit() and policy != "noeviction" else 0
        return Known(self._names(answers, names), evicted, policy if evicted else "")

    @staticmethod
    def _names(answers: Answers, command: Command) -> frozenset[str] | None:
        reply: Any = None if answers.refused(command) else answers[command]
        if reply is None or (isinstance(reply, list) and len(reply) > MAX_QUEUES):
            return None
        return frozenset(name.decode("utf-8", "replace") for name in state.parse_members(reply))


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where a queue that Sidekiq does not know may be."""

    lists: tuple[tuple[str, int], ...] = ()
    """Lists of other systems with its name, and how many jobs wait in each."""
    prefixes: tuple[str, ...] = ()
    """Other namespaces of this database with queues; "" is no namespace."""
    databases: tuple[int, ...] = ()
    """Databases of this Redis with keys."""


@dataclass(frozen=True, slots=True)
class NearQueue(SidekiqPlace):
    """The surroundings of a queue that is not in `queues`; an error only means that a hint is missing."""

    min_refresh_seconds: ClassVar[float] = 60.0

    queue: str

    def __str__(self) -> str:
        return f"surroundings of Sidekiq queue {self.queue} of {self.redis}"

    @property
    def _others(self) -> tuple[str, ...]:
        """The lists of Bull (https://github.com/taskforcesh/bullmq) and of Celery, which KEDA's `redis` scaler reads."""
        name = self.queue.removeprefix("bull:").removesuffix(":wait")
        return tuple(dict.fromkeys((f"bull:{name}:wait", name)))

    def first(self) -> tuple[Command, ...]:
        """Ask for lists of other systems, for databases, and for namespaces."""
        return *(("LLEN", key) for key in self._others), ("INFO", "keyspace"), _scan(b"0")

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Go on to look for namespaces."""
        answers.kept[self] = _Search()
        return self.more(answers, now)

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Go on to look for namespaces."""
        del now
        search: _Search = answers.kept[self]
        command = _scan(search.cursor)
        if answers.refused(command):
            return ()
        found: Any = answers[command]
        search.cursor = found[0]
        search.steps += 1
        for key in state.parse_members(found[1]):
            prefix, mark, _ = key.decode("utf-8", "replace").rpartition("queues")
            if mark and prefix != self.prefix and (not prefix or prefix.endswith(":")):
                search.prefixes.add(prefix)
        return () if search.cursor == b"0" or search.steps == SCAN_STEPS else (_scan(search.cursor),)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Elsewhere:
        """Return what was found."""
        del now, clock
        search: _Search = answers.kept[self]
        *lists, keyspace, _ = self.first()
        lengths = (0 if answers.refused(each) else state.parse_length(answers[each]) for each in lists)
        info = b"" if answers.refused(keyspace) else answers[keyspace]
        lines = info.decode("ascii", "replace").splitlines() if isinstance(info, bytes) else ()
        databases = (line[2:].partition(":")[0] for line in lines if line.startswith("db"))
        return Elsewhere(
            lists=tuple((key, length) for key, length in zip(self._others, lengths, strict=True) if length),
            prefixes=tuple(sorted(search.prefixes)),
            databases=tuple(sorted(int(number) for number in databases if number.isdigit())),
        )


@dataclass(slots=True)
class _Search:
    """The state of one read."""

    cursor: bytes = b"0"
    steps: int = 0
    prefixes: set[str] = field(default_factory=set)


def _scan(cursor: bytes) -> Command:
    return ("SCAN", cursor, "MATCH", "*queues", "COUNT", SCAN_KEYS)
