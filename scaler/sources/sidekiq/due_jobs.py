"""Scheduled and retried jobs that fall due. Only few are read, because Redis returns a time only with the whole job."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from scaler.clients.redis.faults import Command
from scaler.sources.redis_places import Answers, RedisClock
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.page_size import PAGE_BYTES, PageSize
from scaler.sources.sidekiq.places import SidekiqPlace
from scaler.sources.sidekiq.state import Due

MAX_DUE = 500
"""Limit of entries read from each of `schedule` and `retry`; with so many due, more would change nothing."""
LOOK_AHEAD_SECONDS = 60.0
"""Scheduled jobs are read so much earlier than needed, so that their times are known during an outage of Redis."""


@dataclass(frozen=True, slots=True)
class DueJobs(SidekiqPlace):
    """Scheduled and retried jobs that fall due within `lead` seconds, or soon after that."""

    min_refresh_seconds: ClassVar[float] = 1.0  # jobs are read long before they are due

    lead: float

    def __str__(self) -> str:
        return f"Sidekiq jobs due within {self.lead:g} s of {self.redis}"

    def watched(self) -> Iterable[str]:
        """Return the sorted sets."""
        return (f"{self.prefix}schedule", f"{self.prefix}retry")

    def first(self) -> Iterable[Command]:
        """Ask for nothing, because the commands need the time of Redis."""
        return ()

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Ask for the first job of each sorted set."""
        until = now + self.lead + LOOK_AHEAD_SECONDS
        pages = answers.kept[self] = [_Page(key, until) for key in self.watched()]
        return [page.command for page in pages]

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Ask for more jobs, again from the first one on, as long as there may be more."""
        del now
        pages: list[_Page] = answers.kept[self]
        return [page.command for page in pages if not page.done and page.take(answers)]

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Due:
        """Return the times of the jobs."""
        del now
        pages: list[_Page] = answers.kept[self]
        return state.parse_due(((page.answer, page.limit) for page in pages), clock)


class _Page:
    """The first jobs of one sorted set, always read from its beginning, so that none is skipped if others leave."""

    def __init__(self, key: str, until: float) -> None:
        self.answer: Any = None
        self.done = False
        self._key = key
        self._until = until
        self._size = PageSize(1, MAX_DUE)
        self.limit = self._size.entries

    @property
    def command(self) -> Command:
        """Return the next command."""
        return ("ZRANGEBYSCORE", self._key, "-inf", self._until, "WITHSCORES", "LIMIT", 0, self.limit)

    def take(self, answers: Answers) -> bool:
        """Take the answer, and tell whether there is more to read."""
        self.answer = answers[self.command]
        found = len(self.answer) // 2 if isinstance(self.answer, list) else 0
        if found < self.limit:
            self.done = True
            return False
        jobs = [len(part) for part in self.answer[::2] if isinstance(part, bytes)]
        self._size.learn(max(jobs, default=PAGE_BYTES))
        self.done = self._size.entries <= self.limit
        if not self.done:
            self.limit = self._size.entries
        return not self.done
