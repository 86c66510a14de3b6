"""Places in a Redis, for every source on Redis: which commands each needs, and its value from the answers."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scaler.clients.redis.faults import Command
from scaler.clients.redis.resp import RedisError
from scaler.clients.redis.server import RedisRef
from scaler.core.domain import Place
from scaler.core.turns import rest


@dataclass(frozen=True, slots=True)
class RedisClock:
    """How many seconds the clock of a Redis is ahead of this machine's."""

    ahead: float

    def to_redis(self, wall: float) -> float:
        """Return Redis' Unix time at the Unix time `wall` of this machine."""
        return wall + self.ahead

    def to_wall(self, redis: float) -> float:
        """Return the Unix time of this machine at Redis' Unix time."""
        return redis - self.ahead


def parse_time(answer: Any) -> float:
    """Return the Unix time in the answer to `TIME`."""
    if not isinstance(answer, list):
        raise ValueError("no time")  # noqa: TRY004 - as for any answer of a wrong shape
    seconds, microseconds = answer
    return int(seconds) + int(microseconds) / 1e6


REST: Final[Command] = ()
"""Not a command: a place yields it before each piece of long work, so that other tasks can run (`core.turns`)."""
PLACES_AT_ONCE = 32
"""Places that are worked on before the event loop gets a turn."""


class ErrorAnswer(Exception):  # noqa: N818 - Redis' own word for it is "error"
    """Redis answered `command` with `error`."""

    def __init__(self, command: Command, error: RedisError) -> None:
        super().__init__(command, error)
        self.command = command
        self.error = error


class Answers:
    """The answers of Redis to each command, errors included; equal commands are sent once."""

    def __init__(self) -> None:
        self._answers: dict[Command, Any] = {}
        self.kept: dict[Any, Any] = {}
        """The data that places keep from one round to the next."""

    def add(self, commands: Iterable[Command], answers: Iterable[Any]) -> None:
        """Add the answers to `commands`, in the same order."""
        self._answers.update(zip(commands, answers, strict=True))

    def forget(self, commands: Iterable[Command]) -> None:
        """Remove the answers to `commands`."""
        for command in commands:
            self._answers.pop(command, None)

    def __contains__(self, command: Command) -> bool:
        return command in self._answers

    def __getitem__(self, command: Command) -> Any:
        answer = self._answers[command]
        if isinstance(answer, RedisError):
            raise ErrorAnswer(command, answer)
        return answer

    def no_hash(self, command: Command) -> bool:
        """Tell whether the key of `command` has another type than the command needs (WRONGTYPE)."""
        answer = self._answers[command]
        return isinstance(answer, RedisError) and str(answer).startswith("WRONGTYPE")

    def refused(self, command: Command) -> bool:
        """Tell whether Redis answered `command` with an error, such as NOPERM."""
        return isinstance(self._answers[command], RedisError)


@dataclass(frozen=True, slots=True)
class RedisPlace(Place):
    """A place in one Redis. Its commands only read."""

    redis: RedisRef

    @property
    def backend(self) -> str:
        """The Redis."""
        return self.redis.backend

    def watched(self) -> Iterable[str]:
        """Return the keys whose change causes a read at once."""
        return ()

    @abstractmethod
    def first(self) -> Iterable[Command]:
        """Return the commands of the first round trip."""

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        """Return the commands that depend on the answers of the first round trip; `now` is Redis' time."""
        del answers, now
        return ()

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        """Return the commands that depend on the answers of the last round trip; none when nothing is missing.

        Answers of the second and later round trips are removed after the next one, so that a large answer can be read
        in pages: a place keeps what it needs of them in `answers.kept`. A place that may work on one for more than a
        millisecond yields `REST` now and then.
        """
        del answers, now
        return ()

    def presence(self, value: Any) -> bool | None:
        """Tell whether `value` shows work under way (True), nothing at all (False), or neither (None).

        If nothing at all follows on work under way, this counts as trouble: FLUSHALL leaves the same server, and those at
        work must first report anew.
        """
        del value
        return None

    @abstractmethod
    def value(self, answers: Answers, now: float, clock: RedisClock) -> Any:
        """Return the value; raises `ErrorAnswer`, a `Fault`, or `ValueError` for an answer of a wrong shape."""


async def in_turns(places: Sequence[RedisPlace]) -> AsyncIterator[RedisPlace]:
    """Yield `places`, and give the event loop a turn now and then, because there may be thousands."""
    for number, place in enumerate(places, 1):
        yield place
        if not number % PLACES_AT_ONCE:
            await rest()


async def in_steps(commands: Iterable[Command]) -> AsyncIterator[Command]:
    """Yield `commands`, and await a turn at each `REST`."""
    for command in commands:
        if command == REST:
            await rest()
        else:
            yield command
