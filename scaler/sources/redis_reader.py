"""Reads from Redis for any source: all due places of one Redis in two round trips, and large keys in pages."""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast, final

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.redis.attempts import Attempts
from scaler.clients.redis.connection import RedisConnection
from scaler.clients.redis.faults import Command
from scaler.clients.redis.hints import Hints
from scaler.clients.redis.pool import KeptConnection, Reach
from scaler.clients.redis.server import RedisRef, RedisServer
from scaler.core.budget import Budget, Held
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Hint, Place, Reader, Report
from scaler.core.errors import Fault, Unavailable
from scaler.sources.access import Access
from scaler.sources.base import Claim
from scaler.sources.redis_places import (
    Answers,
    ErrorAnswer,
    RedisClock,
    RedisPlace,
    in_steps,
    in_turns,
    parse_time,
)

CLOCK_TOLERANCE_SECONDS = 0.5
"""The clocks are compared at every read. A smaller change comes from the network, and must not change readings."""
MAX_ROUNDS = 2_000
"""Round trips of one read; with a Redis that answers correctly the timeout comes first."""
JUMP_SECONDS = 5.0
"""A larger change of Redis' clock between two reads is a jump: keys with a time to live, such as heartbeats, may expire early."""
_TIME: Command = ("TIME",)


class RedisReader(Reader):
    """Keeps one connection to each Redis, and one more for its notifications of changes. A source subclasses it."""

    together: ClassVar[bool] = True
    timeout_seconds: ClassVar[float] = 10.0  # each round trip has 2 s; 20,000 processes take hundreds of them
    rights: ClassVar[str]  # the documentation page with the ACL rules that it needs

    def __init__(  # noqa: PLR0913, PLR0917 - `Backends.hand` passes the clients by name
        self,
        clock: Clock,
        addresses: Addresses,
        names: Names,
        redis: Mapping[str, RedisServer],
        access: Access,
        budget: Budget,
        count_requests: CountRequests,
    ) -> None:
        """Connect to nothing yet; `redis` are the connections of the configuration by name."""

        def allow(namespace: str, url: str) -> None:
            access.check(namespace, [Claim("url", url)])

        tell = access.known_names
        self._reach = Reach(clock, addresses, names, redis, Attempts(clock), allow, count_requests, tell, self.rights)
        self._budget = budget
        self._hint: Hint | None = None
        self._redises: dict[RedisRef, _Redis] = {}
        self._of: dict[Place, _Redis] = {}  # by place, because a place caches its hash and a reference does not
        self._closing: set[asyncio.Task[None]] = set()

    def tracked(self, place: Any) -> tuple[str, ...]:
        """Return the key prefixes to track for `place` (CLIENT TRACKING); none if polling is enough."""
        del place
        return ()

    @final
    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Read each Redis in a task of its own, so that none waits for another."""
        groups: dict[_Redis, list[RedisPlace]] = {}
        for place in cast("Sequence[RedisPlace]", places):
            groups.setdefault(self._of.get(place) or self._remember(place), []).append(place)
        await asyncio.gather(*(self._read_one(redis, group, report) for redis, group in groups.items()))

    def _remember(self, place: RedisPlace) -> "_Redis":
        ref = place.redis
        redis = self._redises.get(ref)
        if redis is None:
            redis = self._redises[ref] = _Redis(ref, self._reach, self._hint)
        redis.remember(place, self.tracked(place))
        self._of[place] = redis
        return redis

    async def _read_one(self, redis: "_Redis", places: list[RedisPlace], report: Report) -> None:
        waiting = dict.fromkeys(places)

        def report_once(place: Place, outcome: Found | Fault) -> None:
            del waiting[cast("RedisPlace", place)]
            report(place, outcome)

        held = self._budget.held()
        try:
            await redis.read(places, report_once, held)
        except Fault as fault:
            for place in waiting:
                report(place, fault)
        finally:
            held.resize(0)

    def listen(self, hint: Hint) -> None:
        """Call `hint` for places whose keys have changed, as Redis notifies."""
        self._hint = hint

    def forget(self, place: Place) -> None:
        """Forget `place`, and close the connections of a Redis without places."""
        place = cast("RedisPlace", place)
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
    """One Redis with one identity (user or URL)."""

    def __init__(self, ref: RedisRef, reach: Reach, hint: Hint | None) -> None:
        self._ref = ref
        self._reach = reach
        self._hint = hint
        self._kept = KeptConnection(ref, reach)
        self._closed = False
        self._one_at_a_time = asyncio.Lock()
        self._clock: RedisClock | None = None
        self._present: set[RedisPlace] = set()  # those with work under way when they were last read
        self._passed = math.nan  # how far the clock of Redis is ahead of the monotonic one
        self._tracked: dict[RedisPlace, tuple[str, ...]] = {}
        self._groups: dict[tuple[str, ...], tuple[str, ...]] = {}  # equal tuples share one object
        self._by_key: dict[bytes, set[RedisPlace]] = {}
        self._hints: dict[tuple[str, ...], Hints] = {}
        self._moves = 0

    async def read(self, places: Sequence[RedisPlace], report: Report, held: Held) -> None:
        """Report each of `places`; raises a `Fault` for those not reported."""
        async with self._one_at_a_time:
            connection = await self._kept.get()
        await _Read(self, connection, report, held).run(places)
        if self._closed:  # its last place was forgotten during the read
            self._kept.close()
        self._listen({self._tracked.get(place, ()) for place in places})

    async def ask(self, connection: RedisConnection, commands: Sequence[Command], held: Held) -> list[Any]:
        """Make one round trip; other tasks run between those of a long read."""
        async with self._one_at_a_time:
            if not self._kept.has(connection):  # lost; a new connection may reach another Redis
                raise Unavailable(f"{self._ref}: the connection was lost meanwhile")
            self._reach.count_requests(self._ref.backend, "pipeline", 1)
            try:
                return await connection.ask(commands, grow=lambda more: held.resize(held.amount + more))
            except BaseException:
                # The connection cannot be used again, because answers to old commands may still arrive. Losing it is a
                # fault even if a new one could be made at once: the Redis behind it may have lost its data.
                self._kept.drop()
                raise

    def compare_clocks(self, now: float, connection: RedisConnection) -> RedisClock:
        """Return the clock of Redis, whose time is `now`, compared with this machine's; a jump counts as a change."""
        passed = now - self._reach.clock.now()
        if abs(passed - self._passed) > JUMP_SECONDS:
            connection.note_change()
        self._passed = passed
        ahead = now - self._reach.clock.wall()
        if self._clock is None or abs(ahead - self._clock.ahead) > CLOCK_TOLERANCE_SECONDS:
            self._clock = RedisClock(ahead)
        return self._clock

    def note(self, place: RedisPlace, value: Any, connection: RedisConnection) -> None:
        """Count it as a change if `place`, which now has `value`, has lost everything."""
        present = place.presence(value)
        if present is False and place in self._present:
            connection.note_change()
        (self._present.add if present else self._present.discard)(place)

    # Hints

    def remember(self, place: RedisPlace, tracked: tuple[str, ...]) -> None:
        """Call the hint for `place` when one of its keys changes."""
        self._tracked[place] = self._groups.setdefault(tracked, tracked)
        for key in place.watched():
            self._by_key.setdefault(key.encode(), set()).add(place)

    def forget(self, place: RedisPlace) -> bool:
        """Forget `place`, and tell whether it was the last one."""
        del self._tracked[place]
        self._present.discard(place)
        for key in map(str.encode, place.watched()):
            self._by_key[key].discard(place)
            if not self._by_key[key]:
                del self._by_key[key]
        return not self._tracked

    def _listen(self, groups: set[tuple[str, ...]]) -> None:
        """Track the keys of `groups` at the server that was read, if they were read well and are still needed."""
        if self._hint is None or self._closed:
            return
        for prefixes in groups - {()} - self._hints.keys():
            self._hints[prefixes] = Hints(self._kept.open, prefixes, self._changed, self._reach.clock)
        if self._moves != self._kept.moves:
            self._moves = self._kept.moves
            for hints in self._hints.values():
                hints.move()

    def _changed(self, keys: list[bytes] | None) -> None:
        if self._hint is None:
            return
        changed: Iterable[RedisPlace] = (
            self._tracked if keys is None else {place for key in keys for place in self._by_key.get(key, ())}
        )
        for place in list(changed):
            self._hint(place)

    async def close(self) -> None:
        """Close both connections."""
        self._closed = True
        await asyncio.gather(*(hints.close() for hints in self._hints.values()))
        self._hints.clear()
        self._kept.close()


class _Read:
    """One read of some places over one connection."""

    def __init__(self, redis: _Redis, connection: RedisConnection, report: Report, held: Held) -> None:
        self._redis, self._connection, self._report, self._held = redis, connection, report, held
        self._answers = Answers()
        self._asked = 0

    async def run(self, places: Sequence[RedisPlace]) -> None:
        """Send the first commands, then those that depend on their answers, until every place has all it needs."""
        first = [command async for place in in_turns(places) for command in place.first()]
        await self._ask([_TIME, *first])
        try:
            now = parse_time(self._answers[_TIME])
        except ErrorAnswer as answer:
            raise self._connection.fault(answer.error, answer.command) from None
        except (ValueError, TypeError):
            raise Unavailable(f"{places[0].redis}: an answer to TIME that cannot be understood") from None
        times = now, self._redis.compare_clocks(now, self._connection)
        before = self._held.amount
        more = await self._next(places, times, first=True)
        for _ in range(MAX_ROUNDS):
            if not more:
                return
            asked = await self._ask([command for commands in more.values() for command in commands])
            more = await self._next(tuple(more), times, first=False)
            self._answers.forget(asked)
            self._held.resize(before)
        for place in more:
            self._report(place, Unavailable(f"{place}: more than {MAX_ROUNDS} round trips"))

    async def _ask(self, commands: Iterable[Command]) -> list[Command]:
        asked = list(dict.fromkeys(commands))
        self._answers.add(asked, await self._redis.ask(self._connection, asked, self._held))
        self._asked += len(asked)
        return asked

    async def _next(
        self, places: Sequence[RedisPlace], times: tuple[float, RedisClock], *, first: bool
    ) -> dict[RedisPlace, list[Command]]:
        """Report the places that have all they need, and return the next commands of the others."""
        more: dict[RedisPlace, list[Command]] = {}
        async for place in in_turns(places):
            try:
                commands = [
                    command
                    async for command in in_steps((place.second if first else place.more)(self._answers, times[0]))
                ]
                if commands:
                    more[place] = commands
                    continue
                value = place.value(self._answers, *times)
                self._redis.note(place, value, self._connection)
                outcome: Found | Fault = self._connection.found(value, self._asked)
            except Exception as error:  # noqa: BLE001 - any error that a strange answer causes is a fault of this place
                outcome = self._fault(place, error)
            self._report(place, outcome)
        return more

    def _fault(self, place: RedisPlace, error: Exception) -> Fault:
        if isinstance(error, ErrorAnswer):
            return self._connection.fault(error.error, error.command)
        if isinstance(error, Fault):
            return type(error)(f"{place}: {error}")
        return Unavailable(f"{place}: an answer that cannot be understood ({type(error).__name__})")
