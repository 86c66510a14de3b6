"""Limits of the HTTP port: the number of connections, how long one may be idle, and the allowed host names."""

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from scaler.core.clock import Clock, Timer

MAX_CONNECTIONS = 256
"""Open connections; one more closes the one that has been idle longest, else the oldest."""
SILENT_SECONDS = 15.0
"""Timeout for the head of a request, from when the connection was made or the last answer was sent."""

http_log = logging.getLogger(__name__)
"""The log of aiohttp's server, without requests that are no valid HTTP: the client gets an error, and could flood the log."""
http_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Connections:
    """Tracks every connection of the port by its transport."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent: dict[asyncio.BaseTransport, Timer] = {}  # idle connections, the one idle longest first
        self._asking: dict[asyncio.BaseTransport, None] = {}

    def __len__(self) -> int:
        return len(self._silent) + len(self._asking)

    def listener(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a protocol factory for `loop.create_server`, whose connections are served by `make`."""
        return lambda: _Watched(make(), self)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Mark the connection as busy during a request."""
        transport = request.transport
        if transport is not None and (timer := self._silent.pop(transport, None)) is not None:
            timer.cancel()
            self._asking[transport] = None
        try:
            return await handler(request)
        finally:
            if transport is not None and transport in self._asking:
                del self._asking[transport]
                self._fall_silent(transport)

    def made(self, transport: asyncio.BaseTransport) -> None:
        """Note a new connection; it may close another one."""
        if len(self) >= MAX_CONNECTIONS:
            self._drop(next(iter(self._silent or self._asking)))
        self._fall_silent(transport)

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """Note the end of a connection."""
        self._asking.pop(transport, None)
        if (timer := self._silent.pop(transport, None)) is not None:
            timer.cancel()

    def _fall_silent(self, transport: asyncio.BaseTransport) -> None:
        until = self._clock.now() + SILENT_SECONDS
        self._silent[transport] = self._clock.call_at(until, lambda: self._drop(transport))

    def _drop(self, transport: asyncio.BaseTransport) -> None:
        self.lost(transport)
        if isinstance(transport, asyncio.Transport):
            transport.abort()  # `close` would wait for a peer that reads nothing


class _Watched(asyncio.Protocol):
    """Passes everything on to the protocol that serves, and reports begin and end to `Connections`."""

    def __init__(self, serving: asyncio.Protocol, connections: Connections) -> None:
        self._serving, self._connections = serving, connections
        self._transport: asyncio.BaseTransport | None = None
        self.data_received = serving.data_received  # type: ignore[method-assign]  # nothing to add
        self.eof_received = serving.eof_received  # type: ignore[method-assign]
        self.pause_writing = serving.pause_writing  # type: ignore[method-assign]
        self.resume_writing = serving.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._serving.connection_made(transport)
        self._connections.made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.lost(self._transport)
        self._serving.connection_lost(exc)


def only_for(hosts: Iterable[str]) -> Middleware:
    """Return a middleware that answers 421 unless the Host header is an IP address or matches one of `hosts`.

    With DNS rebinding, a page of another site reaches this port by that site's name, and the Host header has that name.
    A client without a Host header is no browser, and allowed. `*` in `hosts` matches any characters. A host in the
    request's target counts as well (RFC 9112, 3.2.2).
    """
    allowed = tuple(host.lower() for host in hosts)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Host")
        if given is not None and not (
            _matches(given, allowed) and _matches(request.url.host_subcomponent or "", allowed)
        ):
            return web.Response(
                status=421,
                text="This name is not one that is served here; add it to httpAllowedHosts of the configuration.\n",
            )
        return await handler(request)

    return middleware


def _matches(given: str, allowed: Iterable[str]) -> bool:
    name = given.rpartition("]")[0].lstrip("[") if given.startswith("[") else given.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        name = name.rstrip(".").lower()
        return any(fnmatchcase(name, host) for host in allowed)
    return True
