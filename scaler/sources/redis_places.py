"""What every source on a Redis is made of: places, each with the commands that it takes, and what Redis answered."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from scaler.clients.redis.faults import Command
from scaler.clients.redis.server import RedisRef
from scaler.core.domain import Place


@dataclass(frozen=True, slots=True)
class RedisClock:
    """The time of a Redis, as seconds that it is ahead of this machine."""

    ahead: float

    def to_redis(self, wall: float) -> float:
        """Return Redis' Unix time at the Unix time `wall` of this machine."""
        return wall + self.ahead

    def to_wall(self, redis: float) -> float:
        """Return the Unix time of this machine at Redis' Unix time."""
        return redis - self.ahead


def parse_time(answer: Any) -> float:
    """Return the Unix time that `TIME` answered."""
    if not isinstance(answer, list):
        raise ValueError("no time")  # noqa: TRY004 - an answer of a wrong shape, as of every command
    seconds, microseconds = answer
    return int(seconds) + int(microseconds) / 1e6


REST: Final[Command] = ()
"""No command: a place yields it before each piece of long work, so that others have their turn (`core.turns`)."""


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
class RedisPlace(Place):
    """Something in one Redis. Its commands only read."""

    redis: RedisRef

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

        What was answered to the second round trip and later ones is there until the next: a place keeps what it needs
        of that in `answers.kept`, and so a large answer is read in pages. A place that works on one for more than a
        millisecond yields `REST` now and then.
        """
        del answers, now
        return ()

    @abstractmethod
    def value(self, answers: Answers, now: float, clock: RedisClock) -> Any:
        """Return what was found; raises `ErrorAnswer`, a `Fault`, or `ValueError` for an answer of a wrong shape."""
