"""What can be read of Sidekiq in a Redis: places, each with the commands that it takes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from scaler.clients.redis.faults import Command
from scaler.core.errors import Unavailable
from scaler.sources.redis_places import Answers, RedisClock, RedisPlace
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.state import Depth, Due, Oldest, Processes

MAX_PROCESSES = 5_000
"""Members of `processes`: each is a hash to read."""
MAX_DUE = 500
"""Entries read of `schedule` and of `retry`: each is a whole job."""
LOOK_AHEAD_SECONDS = 60.0
"""How much earlier than it matters a scheduled job is read: its time is known while Redis does not answer."""


@dataclass(frozen=True, slots=True)
class SidekiqPlace(RedisPlace):
    """Something that Sidekiq keeps in one Redis, under one namespace of redis-namespace."""

    kind: ClassVar[str] = "sidekiq"

    prefix: str


@dataclass(frozen=True, slots=True)
class ProcessSet(SidekiqPlace):
    """The processes; with `jobs`, also what they work on."""

    min_refresh_seconds: ClassVar[float] = 1.0  # a beat comes every 5 s (Sidekiq 6) or 10 s

    jobs: bool

    def __str__(self) -> str:
        return f"Sidekiq processes of {self.redis}"

    def first(self) -> Iterable[Command]:
        """Ask for the identities."""
        yield ("SMEMBERS", f"{self.prefix}processes")

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Ask for every heartbeat."""
        del now
        for _, *commands in self._heartbeats(answers):
            yield from filter(None, commands)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Processes:
        """Return the processes that have a heartbeat."""
        del clock
        live: list[state.Process] = []
        members = strangers = 0
        for identity, fields, pttl, jobs in self._heartbeats(answers):
            members += 1
            if answers.no_hash(fields):
                strangers += 1
                continue
            told = None if jobs is None or answers.no_hash(jobs) else answers[jobs]
            process = state.parse_process(identity, answers[fields], answers[pttl], told, now)
            if process is not None:
                live.append(process)
        return Processes(tuple(live), ghosts=members - strangers - len(live), strangers=strangers)

    def _heartbeats(self, answers: Answers) -> Iterator[tuple[bytes, Command, Command, Command | None]]:
        identities = state.parse_members(answers["SMEMBERS", f"{self.prefix}processes"])
        if len(identities) > MAX_PROCESSES:
            raise Unavailable(
                f"{len(identities)} members of `processes`, and the scaler reads at most {MAX_PROCESSES}; "
                "Sidekiq::ProcessSet.new in a console removes those that are dead"
            )
        prefix = self.prefix.encode()
        for identity in identities:
            key = prefix + identity
            jobs = ("HGETALL", key + b":work") if self.jobs else None
            yield identity, ("HMGET", key, *state.HEARTBEAT_FIELDS), ("PTTL", key), jobs


@dataclass(frozen=True, slots=True)
class QueueDepth(SidekiqPlace):
    """How many jobs wait in a queue."""

    queue: str

    def __str__(self) -> str:
        return f"Sidekiq queue {self.queue} of {self.redis}"

    def watched(self) -> Iterable[str]:
        """Return the list of its jobs; it is gone while it is empty."""
        return (f"{self.prefix}queue:{self.queue}",)

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
class OldestJob(SidekiqPlace):
    """Since when the oldest job of a queue waits."""

    queue: str

    def __str__(self) -> str:
        return f"oldest job of Sidekiq queue {self.queue} of {self.redis}"

    def watched(self) -> Iterable[str]:
        """Return the list of its jobs."""
        return (f"{self.prefix}queue:{self.queue}",)

    def first(self) -> Iterable[Command]:
        """Ask for the end of the list that jobs are taken from (sidekiq fetch.rb: BRPOP)."""
        yield ("LINDEX", *self.watched(), -1)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Oldest:
        """Return its time."""
        del now
        (command,) = self.first()
        return state.parse_oldest(answers[command], clock)


@dataclass(frozen=True, slots=True)
class DueJobs(SidekiqPlace):
    """Scheduled and retried jobs that fall due within `lead` seconds, or soon after that."""

    min_refresh_seconds: ClassVar[float] = 1.0  # what is due matters `lead` seconds earlier

    lead: float

    def __str__(self) -> str:
        return f"Sidekiq jobs due within {self.lead:g} s of {self.redis}"

    def watched(self) -> Iterable[str]:
        """Return the sorted sets that a process moves jobs from."""
        return (f"{self.prefix}schedule", f"{self.prefix}retry")

    def first(self) -> Iterable[Command]:
        """Ask nothing: the time of Redis comes first."""
        return ()

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Ask for the jobs that are due first."""
        del answers
        until = now + self.lead + LOOK_AHEAD_SECONDS
        for key in self.watched():
            yield ("ZRANGEBYSCORE", key, "-inf", until, "WITHSCORES", "LIMIT", 0, MAX_DUE)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> Due:
        """Return their times."""
        return state.parse_due([answers[command] for command in self.second(answers, now)], MAX_DUE, clock)


@dataclass(frozen=True, slots=True)
class Plan:
    """The places of a trigger, by what they are for."""

    processes: ProcessSet
    due: DueJobs
    depths: tuple[QueueDepth, ...]
    oldest: tuple[OldestJob, ...]

    def __iter__(self) -> Iterator[SidekiqPlace]:
        """Return all of them."""
        yield from (self.processes, self.due, *self.depths, *self.oldest)
