"""What can be read of Sidekiq in a Redis: places, each with the commands that it takes."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import SecretStr
from redis.exceptions import ResponseError

from scaler.clients.redis.faults import Command
from scaler.core.domain import Place
from scaler.sources.sidekiq import state
from scaler.sources.sidekiq.state import Depth, Oldest, RedisClock


@dataclass(frozen=True, slots=True)
class RedisRef:
    """Which Redis, and as whom: a connection of the configuration by its name, or the URL of a trigger."""

    backend: str
    name: str | None = None
    url: SecretStr | None = None

    def __str__(self) -> str:
        return self.backend


class ErrorAnswer(Exception):  # noqa: N818 - Redis' own word for it is "error"
    """Redis answered `command` with `error`."""

    def __init__(self, command: Command, error: ResponseError) -> None:
        super().__init__(command, error)
        self.command = command
        self.error = error


class Answers:
    """What Redis answered to each command, its errors included; equal commands are asked once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._answers: dict[Command, Any] = {}
        self.kept: dict[Any, Any] = {}
        """What a place keeps from one round to the next, by place."""

    def add(self, commands: Iterable[Command], answers: Iterable[Any]) -> None:
        """Note the answers to `commands`, in their order."""
        self._answers.update(zip(commands, answers, strict=True))

    def forget(self, commands: Iterable[Command]) -> None:
        """Drop what was answered to `commands`."""
        for command in commands:
            self._answers.pop(command, None)

    def __contains__(self, command: Command) -> bool:
        return command in self._answers

    def __getitem__(self, command: Command) -> Any:
        answer = self._answers[command]
        if isinstance(answer, ResponseError):
            raise ErrorAnswer(command, answer)
        return answer

    def no_hash(self, command: Command) -> bool:
        """Tell whether the key of `command` holds something else than the command is for."""
        answer = self._answers[command]
        return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")

    def refused(self, command: Command) -> bool:
        """Tell whether Redis answered an error to `command`, such as that the user may not run it."""
        return isinstance(self._answers[command], ResponseError)


@dataclass(frozen=True, slots=True)
class SidekiqPlace(Place):
    """Something that Sidekiq keeps in one Redis, under one namespace of redis-namespace."""

    kind: ClassVar[str] = "sidekiq"

    redis: RedisRef
    prefix: str

    @property
    def backend(self) -> str:
        """The Redis."""
        return self.redis.backend

    def watched(self) -> Iterable[str]:
        """Return the keys whose change is worth a read at once."""
        return ()

    @abstractmethod
    def first(self) -> Iterable[Command]:
        """Return the commands of the first round trip."""

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Return the commands that need what the first round trip told; `now` is Redis' time."""
        del answers, now
        return ()

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Return the commands that need what the round trip before told, and none when all is known.

        That answers to the second round trip and later ones are there until the next: a place keeps what it needs of
        them in `answers.kept`.
        """
        del answers, now
        return ()

    @abstractmethod
    def value(self, answers: Answers, now: float, clock: RedisClock) -> Any:
        """Return what was found; raises `ErrorAnswer`, a `Fault`, or `ValueError` for an answer of a wrong shape."""


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
