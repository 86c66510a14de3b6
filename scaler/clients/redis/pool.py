"""Keeps connections between reads, each as long as it certainly leads to the server that its URL means."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
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
"""A host name is looked up again after this time; the answer may come from the cache of `Names`."""
FRESH_SECONDS = 20.0
"""After this time it is looked up without the cache."""
CERTAIN_SECONDS = 30.0
"""If look-ups fail, the last one counts for so long. A connection is replaced after it, because behind the same address
(a Service, a virtual IP) there may be another server by then."""

NAMED_SECONDS = 10.0
"""If no Sentinel answers, the last answer counts for so long."""

MAX_ADDRESSES = 16
"""Of one name that are looked at."""

Allow = Callable[[str, str], None]
"""Raises a `ScalerError` unless the namespace may read the URL."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The clients and settings to make connections with."""

    clock: Clock
    addresses: Addresses
    names: Names
    redis: Mapping[str, RedisServer]
    attempts: Attempts
    allow: Allow
    count_requests: CountRequests
    known_names: Callable[[str, Iterable[str]], str]
    """Returns the end of a message about a name that a section of the configuration does not have."""
    rights: str
    """The documentation of the ACL rules that the scaler needs."""


class KeptConnection:
    """The connection to one Redis with one identity."""

    def __init__(self, ref: RedisRef, reach: Reach) -> None:
        self._ref, self._reach = ref, reach
        self._connection: RedisConnection | None = None
        self._before: Seen | None = None
        self._dialer: Dialer | None = None
        self._sentinels: Sentinels | None = None
        self._named_at = self._looked_up_at = self._fresh_at = self._made_at = -math.inf
        self.moves = 0
        """How often the URL has turned out to mean another server."""

    async def get(self) -> RedisConnection:
        """Return a connection to the server that the URL means now; raises `Fault`."""
        if self._connection is not None:
            try:
                dialer = self._way()
                # `_way` has closed a connection of another configuration
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
        """Close the connection; needed after any fault, because answers to old commands may still arrive."""
        if self._connection is not None:
            self._before = self._connection.seen()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close all connections and forget failures."""
        self._reset()
        self._reach.attempts.forget(self._ref.backend, self._ref)

    def _reset(self) -> None:
        """Close all connections, and keep little memory, because there may be many that fail for a long time."""
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
        """Tell whether `connection` leads to the server that the URL means now; may replace `_connection`."""
        if dialer.url.master is not None and not await self._is_named(dialer, connection):
            return False
        now = self._reach.clock.now()
        if now - self._looked_up_at >= LOOK_UP_SECONDS and not await self._has_its_address(dialer, connection):
            return False
        if dialer.url.master is None and now - self._made_at >= CERTAIN_SECONDS:
            await self._renew(connection)
        return True

    async def _is_named(self, dialer: Dialer, connection: RedisConnection) -> bool:
        """Ask the Sentinels; raises `Fault` if none answers and their last answer is too old."""
        try:
            found = await self._find(dialer)
        except Unavailable:
            if self._reach.clock.now() - self._named_at >= NAMED_SECONDS:
                raise
            return True
        return found.host == connection.target.host

    async def _has_its_address(self, dialer: Dialer, connection: RedisConnection) -> bool:
        """Look up the name; raises `Fault` if that fails and the last look-up is too old."""
        self._looked_up_at = self._reach.clock.now()
        age = self._looked_up_at - self._fresh_at
        try:
            found = await dialer.look_up(connection.target.host[0], fresh=age >= FRESH_SECONDS)
        except Exception as error:  # noqa: BLE001 - every error becomes a fault
            if age >= CERTAIN_SECONDS:
                raise dialer.fault(error) from None
            return True
        if age >= FRESH_SECONDS:
            self._fresh_at = self._looked_up_at
        return connection.address in found

    async def _renew(self, connection: RedisConnection) -> None:
        """Open a new connection, and use it unless it leads to the same server; if it fails, the old one stays."""
        self._made_at = self._reach.clock.now()
        try:
            made = await self.open()
        except Fault:
            return
        if made.run_id and made.is_same_server(connection.seen()):
            made.close()
        else:
            self._use(made)

    # Connecting

    def _way(self) -> Dialer:
        """Return the dialer for the server, after closing what was made for another configuration."""
        ref, reach, known = self._ref, self._reach, self._dialer
        if ref.url is not None:
            if known is None:
                known = Dialer(RedisServer(url=ref.url), reach.addresses, reach.names, ref.backend, reach.rights)
        else:
            server = reach.redis.get(ref.name or "")
            if server is None:
                known_names = reach.known_names("redis", reach.redis)
                raise Refused(f"redis: the configuration has no connection named {ref.name}; {known_names}")
            if known is None or known.server is not server:
                self._reset()
                guard = Addresses()  # the operator may name this machine, so loopback is allowed
                known = Dialer(server, guard, reach.names, ref.backend, reach.rights)
        self._dialer = known
        return known

    async def _find(self, dialer: Dialer) -> Target:
        """Return the server to connect to."""
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
        """Check the master by the access rules, because the Sentinels may be the tenant's own, and name any host."""
        if self._ref.namespace is None:
            return
        scheme = "rediss" if dialer.url.tls else "redis"
        try:
            self._reach.allow(self._ref.namespace, f"{scheme}://{address(*host)}/{dialer.url.database}")
        except ScalerError as error:
            refusal = Refused(f"the Sentinels name a master that is not allowed: {error}")
            raise dialer.fault(refusal) from None

    async def open(self, protocol: int = 2) -> RedisConnection:
        """Open a connection; raises `Fault`."""
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
        except Exception as error:  # noqa: BLE001 - every error becomes a fault
            raise dialer.fault(error, seconds=CONNECT_SECONDS) from None

    async def _try(self) -> RedisConnection:
        """Open a connection, unless too many attempts have failed; then the last fault is raised again."""
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
