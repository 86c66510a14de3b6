"""Reads Sidekiq from Redis: all that is due of one Redis in at most two round trips."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

from scaler.clients.http.addresses import Addresses
from scaler.clients.redis.connection import RedisConnection
from scaler.clients.redis.faults import Command
from scaler.clients.redis.server import RedisServer
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Hint, Place, Proof, Reader, Report
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.sources.sidekiq.hints import Hints
from scaler.sources.sidekiq.places import Answers, ErrorAnswer, RedisRef, SidekiqPlace
from scaler.sources.sidekiq.state import RedisClock, parse_time

CLOCK_TOLERANCE_SECONDS = 0.5
"""Clocks are compared at every read; a smaller change is the network's, and would make every reading a new one."""
_TIME: Command = ("TIME",)

PIPELINED = Proof("an answer to every command of the pipeline", "the Redis of the URL or the configuration")


@dataclass(frozen=True, slots=True)
class _Reach:
    """What a connection is made with."""

    clock: Clock
    addresses: Addresses
    redis: Mapping[str, RedisServer]
    count_requests: CountRequests


class SidekiqReader(Reader):
    """Keeps one connection to each Redis that is read, and one more that hears of changes."""

    kinds: ClassVar[frozenset[str]] = frozenset({SidekiqPlace.kind})
    together: ClassVar[bool] = True
    timeout_seconds: ClassVar[float] = 5.0

    def __init__(
        self, clock: Clock, addresses: Addresses, redis: Mapping[str, RedisServer], count_requests: CountRequests
    ) -> None:
        """Connect to nothing yet; `redis` are the connections of the configuration by name."""
        self._reach = _Reach(clock, addresses, redis, count_requests)
        self._hint: Hint | None = None
        self._redises: dict[RedisRef, _Redis] = {}
        self._of: dict[Place, _Redis] = {}  # a place knows its own hash; that of a URL has to be worked out each time
        self._closing: set[asyncio.Task[None]] = set()

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Read every Redis on its own, so that none waits for another."""
        groups: dict[_Redis, list[SidekiqPlace]] = {}
        for place in cast("Sequence[SidekiqPlace]", places):
            groups.setdefault(self._of.get(place) or self._remember(place), []).append(place)
        await asyncio.gather(*(self._read_one(redis, group, report) for redis, group in groups.items()))

    def _remember(self, place: SidekiqPlace) -> "_Redis":
        ref = place.redis
        redis = self._redises.get(ref)
        if redis is None:
            redis = self._redises[ref] = _Redis(ref, self._reach, self._hint)
        redis.remember(place)
        self._of[place] = redis
        return redis

    async def _read_one(self, redis: "_Redis", places: list[SidekiqPlace], report: Report) -> None:
        waiting = dict.fromkeys(places)

        def report_once(place: Place, outcome: Found | Fault) -> None:
            del waiting[cast("SidekiqPlace", place)]
            report(place, outcome)

        try:
            await redis.read(places, report_once)
        except Fault as fault:
            for place in waiting:
                report(place, fault)

    def listen(self, hint: Hint) -> None:
        """Call `hint` for places whose keys Redis says have changed."""
        self._hint = hint

    def forget(self, place: Place) -> None:
        """Close the connections of a Redis that nobody asks for any more."""
        place = cast("SidekiqPlace", place)
        redis = self._of.pop(place, None)
        if redis is not None and redis.forget(place):
            del self._redises[place.redis]
            task = asyncio.get_running_loop().create_task(redis.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        redises, self._redises = list(self._redises.values()), {}
        await asyncio.gather(*(redis.close() for redis in redises), *self._closing)


class _Redis:
    """One Redis as seen by one identity."""

    def __init__(self, ref: RedisRef, reach: _Reach, hint: Hint | None) -> None:
        self._ref = ref
        self._reach = reach
        self._hint = hint
        self._connection: RedisConnection | None = None
        self._closed = False
        self._one_at_a_time = asyncio.Lock()
        self._clock: RedisClock | None = None
        self._places: set[SidekiqPlace] = set()
        self._by_key: dict[bytes, set[SidekiqPlace]] = {}
        self._hints: dict[str, Hints] = {}

    async def read(self, places: Sequence[SidekiqPlace], report: Report) -> None:
        """Report each of `places`; raises a `Fault` for those that are left."""
        async with self._one_at_a_time:
            connection = self._connection = self._connection or await self._connect()
            try:
                await self._read(connection, places, report)
            except BaseException:
                # Answers may be on their way that belong to no question any more. A lost connection is a fault even
                # when the next one could be made at once: what comes after it may be a Redis that has lost its data.
                self._connection = None
                await connection.close()
                raise
            if self._closed:  # nobody asks any more, since it was read
                await connection.close()
        self._listen({place.prefix for place in places})

    async def _connect(self, protocol: int = 2) -> RedisConnection:
        self._reach.count_requests(self._ref.backend, "connect", 1)
        if self._ref.url is not None:
            server, guard = RedisServer(url=self._ref.url), self._reach.addresses
        else:
            named = self._reach.redis.get(self._ref.name or "")
            if named is None:
                raise Refused(f"redis: the configuration has no connection named {self._ref.name}")
            server, guard = named, Addresses()  # what the operator has written may be on this machine
        return await RedisConnection.open(server, guard, self._ref.backend, protocol=protocol)

    async def _read(self, connection: RedisConnection, places: Sequence[SidekiqPlace], report: Report) -> None:
        answers = Answers()
        await self._ask(connection, answers, [_TIME, *(command for place in places for command in place.first())])
        try:
            now = parse_time(answers[_TIME])
        except ErrorAnswer as answer:
            raise connection.fault(answer.error, answer.command) from None
        except (ValueError, TypeError):
            raise Unavailable(f"{self._ref}: an answer to TIME that cannot be understood") from None
        clock = self._compare_clocks(now)
        more: dict[SidekiqPlace, list[Command]] = {}
        for place in places:
            try:
                commands = list(place.second(answers, now))
            except Exception as error:  # noqa: BLE001 - whatever a strange answer leads to is a fault of this place
                report(place, self._fault(connection, place, error))
                continue
            if commands:
                more[place] = commands
            else:
                self._report(connection, place, answers, (now, clock), report)
        if more:
            await self._ask(connection, answers, [command for commands in more.values() for command in commands])
        for place in more:
            self._report(connection, place, answers, (now, clock), report)

    async def _ask(self, connection: RedisConnection, answers: Answers, commands: list[Command]) -> None:
        commands = list(dict.fromkeys(commands))
        self._reach.count_requests(self._ref.backend, "pipeline", 1)
        answers.add(commands, await connection.ask(commands))

    def _report(
        self,
        connection: RedisConnection,
        place: SidekiqPlace,
        answers: Answers,
        times: tuple[float, RedisClock],
        report: Report,
    ) -> None:
        try:
            outcome: Found | Fault = Found(place.value(answers, *times), PIPELINED)
        except Exception as error:  # noqa: BLE001 - whatever a strange answer leads to is a fault of this place
            outcome = self._fault(connection, place, error)
        report(place, outcome)

    def _fault(self, connection: RedisConnection, place: SidekiqPlace, error: Exception) -> Fault:
        if isinstance(error, ErrorAnswer):
            return connection.fault(error.error, error.command)
        if isinstance(error, Fault):
            return type(error)(f"{place}: {error}")
        return Unavailable(f"{place}: an answer that cannot be understood ({type(error).__name__})")

    def _compare_clocks(self, now: float) -> RedisClock:
        ahead = now - self._reach.clock.wall()
        if self._clock is None or abs(ahead - self._clock.ahead) > CLOCK_TOLERANCE_SECONDS:
            self._clock = RedisClock(ahead)
        return self._clock

    # Hints

    def remember(self, place: SidekiqPlace) -> None:
        """Hint at `place` when a key that it watches changes."""
        self._places.add(place)
        for key in place.watched():
            self._by_key.setdefault(key.encode(), set()).add(place)

    def forget(self, place: SidekiqPlace) -> bool:
        """Tell whether `place` was the last one."""
        self._places.remove(place)
        self._unwatch(place)
        return not self._places

    def _unwatch(self, place: SidekiqPlace) -> None:
        for key in map(str.encode, place.watched()):
            self._by_key[key].discard(place)
            if not self._by_key[key]:
                del self._by_key[key]

    def _listen(self, prefixes: set[str]) -> None:
        """Listen to what is read, once it was read well, unless it was forgotten meanwhile."""
        for prefix in prefixes if self._hint is not None and not self._closed else ():
            if prefix not in self._hints:
                connect = partial(self._connect, protocol=3)
                self._hints[prefix] = Hints(connect, prefix, self._changed, self._reach.clock)

    def _changed(self, keys: list[bytes] | None) -> None:
        if self._hint is None:
            return
        changed = self._places if keys is None else {place for key in keys for place in self._by_key.get(key, ())}
        for place in list(changed):
            self._hint(place)

    async def close(self) -> None:
        """Close both connections."""
        self._closed = True
        await asyncio.gather(*(hints.close() for hints in self._hints.values()))
        self._hints.clear()
        if self._connection is not None:
            await self._connection.close()
