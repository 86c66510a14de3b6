"""Connections that are kept from read to read, each only as long as it is certain to be the right one."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.redis.attempts import Attempts
from scaler.clients.redis.choice import open_master
from scaler.clients.redis.connection import CONNECT_SECONDS, RedisConnection, Seen, Target
from scaler.clients.redis.dialer import Dialer
from scaler.clients.redis.sentinel import Sentinels
from scaler.clients.redis.server import RedisRef, RedisServer, address
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests
from scaler.core.errors import Fault, Refused, ScalerError, Unavailable

LOOK_UP_SECONDS = 1.0
"""After which a host name is looked up again; its answer may be kept for its time to live."""
FRESH_SECONDS = 20.0
"""After which it is looked up whatever its time to live."""
CERTAIN_SECONDS = 30.0
"""For so long a look-up counts while others fail; and a connection, which is then made anew, since behind the same address
(a Service, a virtual IP) another server may answer."""

NAMED_SECONDS = 10.0
"""For so long what Sentinels said counts while none of them answers."""

MAX_ADDRESSES = 16
"""Of one name that are looked at."""

Allow = Callable[[str, str], None]
"""Raises a `ScalerError` unless a namespace may read a URL."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What connections are made with."""

    clock: Clock
    addresses: Addresses
    names: Names
    redis: Mapping[str, RedisServer]
    attempts: Attempts
    allow: Allow
    count_requests: CountRequests
    rights: str
    """Where the access rules are written that a Redis needs."""


class KeptConnection:
    """The connection to one Redis as one identity."""

    def __init__(self, ref: RedisRef, reach: Reach) -> None:
        """Connect to nothing yet."""
        self._ref, self._reach = ref, reach
        self._connection: RedisConnection | None = None
        self._before: Seen | None = None
        self._dialer: Dialer | None = None
        self._sentinels: Sentinels | None = None
        self._named_at = self._looked_up_at = self._fresh_at = self._made_at = -math.inf
        self.moves = 0
        """How often another server was found behind the URL."""

    async def get(self) -> RedisConnection:
        """Return a connection to the server that the URL means now; raises the `Fault` that hinders it."""
        if self._connection is not None:
            try:
                dialer = self._way()
                # a connection that was made for another configuration is gone by now
                certain = self._connection is None or await self._is_certain(dialer, self._connection)
            except BaseException:
                self.drop()
                raise
            if not certain:
                self.drop()
        return self._connection or self._use(await self._try())

    def has(self, connection: RedisConnection) -> bool:
        """Tell whether `connection` is still the one that is used."""
        return self._connection is connection

    def drop(self) -> None:
        """Close the connection, after any fault: answers may be on their way that belong to no question any more."""
        if self._connection is not None:
            self._before = self._connection.seen()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close what is open and forget what failed."""
        self._reset()
        self._reach.attempts.forget(self._ref.backend, self._ref)

    def _reset(self) -> None:
        """Close what is open, and keep little: what fails may do so for long, and for many."""
        self.drop()
        if self._sentinels is not None:
            self._sentinels.close()
        self._sentinels = self._dialer = None

    def _use(self, made: RedisConnection) -> RedisConnection:
        self.drop()
        if self._before is not None:
            self.moves += not made.is_same_server(self._before)
            made.follow(self._before)
        self._connection = made
        self._made_at = self._looked_up_at = self._fresh_at = self._reach.clock.now()
        return made

    # Which server the URL means

    async def _is_certain(self, dialer: Dialer, connection: RedisConnection) -> bool:
        """Tell whether `connection` leads to the server that the URL means now; `_connection` may be another after that."""
        if dialer.url.master is not None and not await self._is_named(dialer, connection):
            return False
        now = self._reach.clock.now()
        if now - self._looked_up_at >= LOOK_UP_SECONDS and not await self._has_its_address(dialer, connection):
            return False
        if dialer.url.master is None and now - self._made_at >= CERTAIN_SECONDS:
            await self._renew(connection)
        return True

    async def _is_named(self, dialer: Dialer, connection: RedisConnection) -> bool:
        """Ask the Sentinels; that none answers is a fault when the last time was too long ago."""
        try:
            found = await self._find(dialer)
        except Unavailable:
            if self._reach.clock.now() - self._named_at >= NAMED_SECONDS:
                raise
            return True
        return found.host == connection.target.host

    async def _has_its_address(self, dialer: Dialer, connection: RedisConnection) -> bool:
        """Look the name up; that it cannot be looked up is a fault when the last time was too long ago."""
        self._looked_up_at = self._reach.clock.now()
        age = self._looked_up_at - self._fresh_at
        try:
            found = await dialer.look_up(connection.target.host[0], fresh=age >= FRESH_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as a fault
            if age >= CERTAIN_SECONDS:
                raise dialer.fault(error) from None
            return True
        if age >= FRESH_SECONDS:
            self._fresh_at = self._looked_up_at
        return connection.address in found

    async def _renew(self, connection: RedisConnection) -> None:
        """Make a connection anew, and use it unless it leads to the same server; the old one stays where that fails."""
        self._made_at = self._reach.clock.now()
        try:
            made = await self.open()
        except Fault:
            return
        if made.run_id and made.is_same_server(connection.seen()):
            made.close()
        else:
            self._use(made)

    # The way there

    def _way(self) -> Dialer:
        """Return the way to the server; what was made for another configuration is closed."""
        ref, reach, known = self._ref, self._reach, self._dialer
        if ref.url is not None:
            if known is None:
                known = Dialer(RedisServer(url=ref.url), reach.addresses, reach.names, ref.backend, reach.rights)
        else:
            server = reach.redis.get(ref.name or "")
            if server is None:
                raise Refused(f"redis: the configuration has no connection named {ref.name}")
            if known is None or known.server is not server:
                self._reset()
                guard = Addresses()  # the operator may name this machine
                known = Dialer(server, guard, reach.names, ref.backend, reach.rights)
        self._dialer = known
        return known

    async def _find(self, dialer: Dialer) -> Target:
        """Return where to connect to."""
        if dialer.url.master is None:
            return Target(dialer.url.hosts[0])
        if self._sentinels is None:
            self._sentinels = Sentinels(dialer, self._reach.clock)
        try:
            named, by = await self._sentinels.master()
        except Fault as fault:
            raise dialer.fault(fault) from None
        self._check_named(dialer, named.host)
        self._named_at = self._reach.clock.now()
        return Target(named.host, by)

    def _check_named(self, dialer: Dialer, host: tuple[str, int]) -> None:
        """Hold what a Sentinel names against the rules: it may be the tenant's own, and name what it likes."""
        if self._ref.namespace is None:
            return
        scheme = "rediss" if dialer.url.tls else "redis"
        try:
            self._reach.allow(self._ref.namespace, f"{scheme}://{address(*host)}/{dialer.url.database}")
        except ScalerError as error:
            told = Refused(f"the Sentinels name a master that is not allowed: {error}")
            raise dialer.fault(told) from None

    async def open(self, protocol: int = 2) -> RedisConnection:
        """Make a connection; raises the `Fault` that hinders it."""
        dialer = self._way()
        self._reach.count_requests(self._ref.backend, "connect", 1)
        target = await self._find(dialer)
        if target.named_by is None and protocol == 3:  # it hears of what is read
            target = replace(target, addresses=() if self._connection is None else (self._connection.address,))
        elif target.named_by is None:
            found = await self._addresses(dialer, target)
            if len(found) > 1:
                each = [replace(target, addresses=(one,)) for one in found[:MAX_ADDRESSES]]
                return await open_master(dialer, self._reach.clock, each)
            target = replace(target, addresses=found)
        return await RedisConnection.open(dialer, self._reach.clock, target, protocol=protocol)

    @staticmethod
    async def _addresses(dialer: Dialer, target: Target) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await dialer.look_up(target.host[0], fresh=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as a fault
            raise dialer.fault(error, seconds=CONNECT_SECONDS) from None

    async def _try(self) -> RedisConnection:
        """Make a connection unless too many attempts have failed; then the last fault is raised again."""
        attempts, host = self._reach.attempts, self._ref.backend
        attempts.check(host, self._ref)
        try:
            made = await self.open()
        except Fault as fault:
            attempts.failed(host, self._ref, fault)
            self._reset()
            raise
        attempts.worked(host, self._ref)
        return made
