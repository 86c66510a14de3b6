"""Places of Sidekiq in a Redis, each with its commands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from scaler.clients.redis.faults import Command
from scaler.sources.redis_places import Answers, RedisClock, RedisPlace
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.state import Depth, Oldest


@dataclass(frozen=True, slots=True)
class SidekiqPlace(RedisPlace):
    """A place in one Redis, under one namespace of redis-namespace."""

    kind: ClassVar[str] = "sidekiq"

    prefix: str


@dataclass(frozen=True, slots=True)
class _QueuePlace(SidekiqPlace):
    queue: str

    def watched(self) -> Iterable[str]:
        """Return the list of its jobs, a key that does not exist while it is empty."""
        return (f"{self.prefix}queue:{self.queue}",)


@dataclass(frozen=True, slots=True)
class QueueDepth(_QueuePlace):
    """How many jobs wait in a queue."""

    def __str__(self) -> str:
        return f"Sidekiq queue {self.queue} of {self.redis}"

    def first(self) -> tuple[Command, Command]:
        """Ask for the length, and for the queues that Sidekiq Pro has paused."""
        return ("LLEN", *self.watched()), ("SMEMBERS", f"{self.prefix}paused")

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Depth:
        """Return both."""
        del now, clock
        length, paused = self.first()
        members = state.parse_members(answers[paused])
        return Depth(state.parse_length(answers[length]), paused=self.queue.encode() in members)


@dataclass(frozen=True, slots=True)
class OldestJob(_QueuePlace):
    """Since when the oldest job of a queue waits."""

    def __str__(self) -> str:
        return f"oldest job of Sidekiq queue {self.queue} of {self.redis}"

    def first(self) -> Iterable[Command]:
        """Ask for the end of the list from which jobs are taken (sidekiq fetch.rb: BRPOP)."""
        yield ("LINDEX", *self.watched(), -1)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Oldest:
        """Return its time."""
        del now
        (command,) = self.first()
        return state.parse_oldest(answers[command], clock)
