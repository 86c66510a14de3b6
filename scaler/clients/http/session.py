"""HTTP sessions for URLs from metadata: every connection passes the address guard."""

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import MAX_TRIED, Names
from scaler.clients.http.tls import system_context
from scaler.clients.http.wire import bound
from scaler.core.clock import Clock
from scaler.core.errors import Refused

CERTAIN_SECONDS = 20.0
"""Connections are used for so long and then made anew: behind the same address (a Service, a virtual IP) another server may
answer by now, while open connections stay with the old one. Longer than any read, so that none is cut off."""


class AddressRefused(Refused, OSError):  # noqa: N818 - a fault, see core/errors.py
    """The guard refuses an address; also an `OSError`, as aiohttp drops other errors if there are more addresses."""


def open_session(addresses: Addresses, names: Names, *, connections: int = 100) -> aiohttp.ClientSession:
    """Return a session for the running loop that connects only to what `addresses` allows.

    The guard checks the socket, so redirects and names that change their address pass it as well. Proxies from the
    environment are not used, because the guard cannot see where they connect to. Cookies are not kept. `names` looks up
    hosts.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        ssl=system_context(),
        use_dns_cache=False,  # `Names` has a cache
        socket_factory=_Guard(addresses).open_socket,
        resolver=_Resolver(addresses, names),
    )
    return aiohttp.ClientSession(
        connector=bound(connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=True,
        timeout=aiohttp.ClientTimeout(total=None),  # the store limits every read; another timer would cost time
    )


class Sessions:
    """Gives a session of `open_session` of which no connection is older than `CERTAIN_SECONDS`."""

    def __init__(self, clock: Clock, addresses: Addresses, names: Names, *, connections: int = 100) -> None:
        system_context()  # read now, because that takes 40 ms
        self._clock, self._made_at = clock, 0.0
        self._addresses, self._names, self._connections = addresses, names, connections
        self._open: list[aiohttp.ClientSession] = []  # the one before may still be read from

    async def get(self) -> aiohttp.ClientSession:
        """Return the session for a read that begins now and ends within `CERTAIN_SECONDS`."""
        now = self._clock.now()
        if not self._open or now - self._made_at >= CERTAIN_SECONDS:
            self._made_at = now
            made = open_session(self._addresses, self._names, connections=self._connections)
            old, self._open = self._open[:-1], [*self._open[-1:], made]
            for session in old:
                await session.close()
        return self._open[-1]

    async def close(self) -> None:
        """Close all connections."""
        for session in self._open:
            await session.close()
        self._open.clear()


class _Guard:
    """Checks URLs with an address instead of a name, which are not looked up."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        try:
            return self._addresses.open_socket(addr_info)
        except Refused as refused:
            raise AddressRefused(str(refused)) from None


class _Resolver(AbstractResolver):
    """Looks up names for aiohttp; a name with a refused address, of those that are tried, is refused."""

    def __init__(self, addresses: Addresses, names: Names) -> None:
        self._addresses, self._names = addresses, names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family  # aiohttp always asks for both families
        found = (await self._names.look_up(host))[:MAX_TRIED]
        for address in found:
            try:
                self._addresses.check(address)
            except Refused as refused:
                raise AddressRefused(f"{host}: {refused}") from None
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Do nothing: `Names` belongs to the process."""
