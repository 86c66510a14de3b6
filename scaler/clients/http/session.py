"""The one way to fetch something over HTTP that metadata has named: every connection passes the address guard."""

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.http.wire import bound
from scaler.core.errors import Refused


class AddressRefused(Refused, OSError):  # noqa: N818 - a fault, see core/errors.py
    """The guard refuses an address; an `OSError` too, since aiohttp loses any other error of one of several addresses."""


def open_session(addresses: Addresses, names: Names | None = None, *, connections: int = 100) -> aiohttp.ClientSession:
    """Return a session for the running loop that connects only where `addresses` lets it; `names` finds hosts.

    The guard sits at the socket, so redirects and names that change their address pass it as well. Proxies from the
    environment are not used: they would connect where the guard cannot see. Cookies are not kept.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        use_dns_cache=False,  # `Names` keeps answers
        socket_factory=_Guard(addresses).open_socket,
        resolver=_Resolver(addresses, names or Names()),
    )
    return aiohttp.ClientSession(
        connector=bound(connector),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=True,
        timeout=aiohttp.ClientTimeout(total=None),  # the store limits every read; a timer more would be paid each time
    )


class _Guard:
    """Refuses addresses that are connected to without a look-up."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        try:
            return self._addresses.open_socket(addr_info)
        except Refused as refused:
            raise AddressRefused(str(refused)) from None


class _Resolver(AbstractResolver):
    """Looks names up for aiohttp; a name with one address that is refused is refused whole, and named."""

    def __init__(self, addresses: Addresses, names: Names) -> None:
        self._addresses, self._names = addresses, names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family  # aiohttp asks for either
        found = await self._names.look_up(host)
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
