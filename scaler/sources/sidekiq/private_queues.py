"""The private queues of Sidekiq Pro's `super_fetch`, in which the jobs of a killed process stay behind."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scaler.clients.redis.faults import Command
from scaler.core.errors import Unavailable
from scaler.sources.redis_places import Answers, RedisClock
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.places import SidekiqPlace

FIRST_STEP, LARGEST_STEP = 1_000, 8_000
"""Keys that one SCAN looks at; Redis serves nobody else during a step, about 2 ms for the largest."""
MAX_STEPS = 1_000
_MARK = "queue:sq|"


@dataclass(frozen=True, slots=True)
class Orphans:
    """How many jobs lie in private queues of processes that are gone, by the queue that they were taken from."""

    jobs: tuple[tuple[str, int], ...] = ()

    def of(self, queue: str) -> int:
        """Return how many were taken from `queue`."""
        return dict(self.jobs).get(queue, 0)


@dataclass(frozen=True, slots=True)
class PrivateQueues(SidekiqPlace):
    """All lists `queue:sq|<identity>|<queue>`; a job is moved there with RPOPLPUSH while it is worked on.

    When its process was killed, only one that starts moves it back, after the heartbeat has run out (Sidekiq's wiki,
    Reliability). The form of the keys: sidekiq/sidekiq#3443 and kedacore/keda#6007.
    """

    min_refresh_seconds: ClassVar[float] = 60.0  # a heartbeat takes as long to run out

    def __str__(self) -> str:
        return f"super_fetch's private queues of {self.redis}"

    def first(self) -> Iterable[Command]:
        """Begin to look through the keys: Redis has no other list of them."""
        yield self._scan(b"0", FIRST_STEP)

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Go on."""
        answers.kept[self] = _Search()
        return self.more(answers, now)

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Go on to the next keys, and look at the private queues among those of the step before."""
        del now
        search: _Search = answers.kept[self]
        search.count(self, answers)
        commands = [*search.look(self, answers)]
        if search.cursor is not None:
            commands.append(self._scan(search.cursor, search.step))
        return commands

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Orphans:
        """Return how many jobs are left behind."""
        del now, clock
        search: _Search = answers.kept[self]
        return Orphans(tuple(sorted(search.orphans.items())))

    def _scan(self, cursor: bytes, step: int) -> Command:
        escaped = re.sub(r"([*?\[\]\\^-])", r"\\\1", self.prefix)
        return ("SCAN", cursor, "MATCH", f"{escaped}{_MARK}*", "COUNT", step)


@dataclass(slots=True)
class _Search:
    """How far one read has come."""

    cursor: bytes | None = b"0"
    step: int = FIRST_STEP
    steps: int = 0
    orphans: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)
    asked: list[bytes] = field(default_factory=list)

    def look(self, place: PrivateQueues, answers: Answers) -> Iterator[Command]:
        """Take in a step; yield the commands for what it found, as SCAN may tell a key more than once."""
        self.asked = []
        if self.cursor is None:
            return
        found: Any = answers[place._scan(self.cursor, self.step)]  # noqa: SLF001 - a part of it
        if not isinstance(found, list) or len(found) != 2 or not isinstance(found[0], bytes):
            raise ValueError("no answer to SCAN")
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Unavailable(
                f"superFetch: no end of the keys after {MAX_STEPS} steps of SCAN, which is millions of them; give Sidekiq "
                "a database of its own, or leave superFetch out"
            )
        self.cursor = None if found[0] == b"0" else found[0]
        self.step = min(LARGEST_STEP, FIRST_STEP * (1 + self.steps // 8))
        for key in state.parse_members(found[1]):
            if key not in self.seen and len(key.split(b"|", 2)) == 3:
                self.seen.add(key)
                self.asked.append(key)
                yield from _questions(place.prefix, key)

    def count(self, place: PrivateQueues, answers: Answers) -> None:
        """Take in what was answered about the lists of the step before."""
        for key in self.asked:
            length, alive = _questions(place.prefix, key)
            if answers.no_hash(length):  # somebody else's key
                continue
            waiting = state.parse_length(answers[length])
            if answers[alive] == -2:  # no such key, which is how Sidekiq Pro itself tells that a process is gone
                self.orphans[key.split(b"|", 2)[2].decode("utf-8", "replace")] += waiting


def _questions(prefix: str, key: bytes) -> tuple[Command, Command]:
    """Return the commands for the length of a private queue, and for whether the heartbeat of its process is there."""
    return ("LLEN", key), ("PTTL", prefix.encode() + key.split(b"|", 2)[1])
