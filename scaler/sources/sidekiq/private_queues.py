"""The private queues of Sidekiq Pro's `super_fetch`, which keep the jobs of a killed process (orphans)."""

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
"""Keys of one SCAN; Redis serves no other client during it, about 2 ms for the largest."""
MAX_STEPS = 1_000
_MARK = "queue:sq|"


@dataclass(frozen=True, slots=True)
class Orphans:
    """How many jobs are in private queues of dead processes, by the queue that they were taken from."""

    jobs: tuple[tuple[str, int], ...] = ()

    def of(self, queue: str) -> int:
        """Return how many were taken from `queue`."""
        return dict(self.jobs).get(queue, 0)


@dataclass(frozen=True, slots=True)
class PrivateQueues(SidekiqPlace):
    """All lists `queue:sq|<identity>|<queue>`; RPOPLPUSH moves a job there while it is being processed.

    If its process was killed, a process that starts moves the job back, after the heartbeat of the killed one has
    expired (Sidekiq's wiki, Reliability). For the form of the keys see sidekiq/sidekiq#3443 and kedacore/keda#6007.
    """

    min_refresh_seconds: ClassVar[float] = 60.0  # a heartbeat expires after as long

    def __str__(self) -> str:
        return f"super_fetch's private queues of {self.redis}"

    def first(self) -> Iterable[Command]:
        """Begin to scan the keys, because Redis has no list of these."""
        yield self._scan(b"0", FIRST_STEP)

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Go on."""
        answers.kept[self] = _Search()
        return self.more(answers, now)

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Scan the next keys, and ask about the private queues among those of the step before."""
        del now
        search: _Search = answers.kept[self]
        search.count(self, answers)
        commands = [*search.look(self, answers)]
        if search.cursor is not None:
            commands.append(self._scan(search.cursor, search.step))
        return commands

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Orphans:
        """Return the number of orphans."""
        del now, clock
        search: _Search = answers.kept[self]
        return Orphans(tuple(sorted(search.orphans.items())))

    def _scan(self, cursor: bytes, step: int) -> Command:
        escaped = re.sub(r"([*?\[\]\\^-])", r"\\\1", self.prefix)
        return ("SCAN", cursor, "MATCH", f"{escaped}{_MARK}*", "COUNT", step)


@dataclass(slots=True)
class _Search:
    """The state of one read."""

    cursor: bytes | None = b"0"
    step: int = FIRST_STEP
    steps: int = 0
    orphans: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)
    asked: list[bytes] = field(default_factory=list)

    def look(self, place: PrivateQueues, answers: Answers) -> Iterator[Command]:
        """Take the keys of a step, and yield the commands for new ones: SCAN may return a key more than once."""
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
        """Take the answers about the lists of the step before."""
        for key in self.asked:
            length, alive = _questions(place.prefix, key)
            if answers.no_hash(length):  # not a list, so not Sidekiq's
                continue
            waiting = state.parse_length(answers[length])
            if answers[alive] == -2:  # no heartbeat; Sidekiq Pro itself recognizes dead processes by that
                self.orphans[key.split(b"|", 2)[2].decode("utf-8", "replace")] += waiting


def _questions(prefix: str, key: bytes) -> tuple[Command, Command]:
    """Return the commands for the length of a private queue and for the heartbeat of its process."""
    return ("LLEN", key), ("PTTL", prefix.encode() + key.split(b"|", 2)[1])
