"""Connects to one server of the configuration or of a trigger, and makes its faults, without secrets."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import MAX_TRIED, Names
from scaler.clients.http.tls import system_context, trust, unusable
from scaler.clients.redis.faults import ASKS, RIGHTS, Command, fault_of
from scaler.clients.redis.link import Link
from scaler.clients.redis.server import RedisServer
from scaler.core.errors import Fault, Refused, Unavailable

PROBE_SECONDS = 0.5
SHARE = 0.8
"""Share of the time for a connection that its socket may take; the rest is for finding out what went wrong."""
_TLS_RECORDS = {b"\x15", b"\x16"}  # alert, handshake (RFC 8446, 5.1)
_ONLY_SERVER = "the server speaks TLS and the URL does not; write rediss:// (rediss+sentinel:// for Sentinels)"
_ONLY_URL = "the URL asks for TLS and the server speaks without; write redis:// (redis+sentinel:// for Sentinels)"


Made = TypeVar("Made")


class Dialer:
    """Connects to `server`: looks up its name, checks its addresses, reads its files, and knows its secrets."""

    def __init__(self, server: RedisServer, guard: Addresses, names: Names, where: str, rights: str = RIGHTS) -> None:
        """Name it `where` in messages; `rights` names the documentation of the ACL rules that the scaler needs."""
        self.server, self.url = server, server.where
        self._guard, self._names, self._rights = guard, names, rights
        self.where = f"{where} ({self.url})"
        self._secrets: set[str] = set()
        self.hide(self.url.password, self.url.username)

    def hide(self, *secrets: str | None) -> None:
        """Mask `secrets` in all messages."""
        self._secrets.update(secret for secret in secrets if secret)

    def fault(self, error: BaseException, *, command: Command = (), seconds: float = 0.0, where: str = "") -> Fault:
        """Return `error` as a fault of this server, or of that at `where`."""
        return fault_of(
            error, where or self.where, command=command, seconds=seconds, secrets=self._secrets, rights=self._rights
        )

    def secret(self, file: Path | None, setting: str) -> str | None:
        """Return the content of a secret's file, None without one; read each time, so that it can be rotated."""
        if file is None:
            return None
        try:
            found = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise Unavailable(f"cannot read {setting} {file}: {reason}") from None
        self.hide(found)
        return found

    async def look_up(self, host: str, *, fresh: bool) -> tuple[str, ...]:
        """Return the addresses of `host`, which may be an address."""
        return await self._names.look_up(host, fresh=fresh)

    async def dial(self, host: tuple[str, int], seconds: float, addresses: tuple[str, ...] = ()) -> Link:
        """Connect to `addresses` of `host`, or to those that it has, one after the other; raises what went wrong."""
        time = asyncio.get_running_loop().time
        end = time() + seconds
        addresses = addresses or (await self.look_up(host[0], fresh=True))[:MAX_TRIED]
        # Reading many certificates takes a moment, which the handshake must not have: `explain` needs the rest.
        context = await asyncio.to_thread(self._context) if self.url.tls else None
        seconds = max(end - time(), 0.1)
        failure: Exception = Unavailable("the host name has no address")
        for address in addresses:
            try:
                sock = await _within(seconds, len(addresses), self._connect(address, host[1]))
            except (OSError, Fault) as error:  # also TimeoutError
                # The error of an address that accepted the connection says more than that of one that did not.
                failure = failure if isinstance(failure, _SilentError) else error
                continue
            try:
                return await _within(seconds, len(addresses), Link.over(sock, (address, host[1]), context, host[0]))
            except BaseException as error:
                sock.close()
                if not isinstance(error, OSError):
                    raise
                failure = _SilentError(error, (address, host[1]))
        raise failure

    async def explain(self, error: Exception, link: Link | None, seconds: float, where: str = "") -> Fault:
        """Close `link`, and return why the connection failed; this also finds out whether only one side uses TLS.

        Neither side reports that by itself: Redis waits for the rest of a handshake, and a TLS server hangs up.
        """
        silent = None
        if isinstance(error, _SilentError):
            silent, error = error.host, error.error
        elif link is not None and not link.heard and not self.url.tls:
            silent = link.host
        if link is not None:
            link.close()
        if silent is not None and not isinstance(error, ssl.SSLCertVerificationError):
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    error = await self._tls_on_one_side(silent) or error
            except (OSError, Fault):  # also TimeoutError: then it is not known
                pass
        unheard = link is None or not link.heard
        if self.url.tls and unheard and isinstance(error, ConnectionError) and self.server.cert_file is None:
            error = Unavailable(f"the server has closed the connection after the TLS handshake{ASKS}")
        return self.fault(error, seconds=seconds, where=where)

    async def _tls_on_one_side(self, host: tuple[str, int]) -> Refused | None:
        sock = await self._connect(*host)
        try:
            if not self.url.tls and await _speaks_tls(sock):
                return Refused(_ONLY_SERVER)
            if self.url.tls and await _speaks_plain(sock):
                return Refused(_ONLY_URL)
        finally:
            sock.close()
        return None

    async def _connect(self, address: str, port: int) -> socket.socket:
        """Connect to an address, after the guard has checked it; no name is looked up after that."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = self._guard.open_socket((family, socket.SOCK_STREAM, 0, "", (address, port)))
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        try:
            context = trust(self.server)
        except OSError as error:  # also ssl.SSLError: no certificate in the file, or the key of another one
            raise Unavailable(f"cannot use caFile, certFile or keyFile: {unusable(error)}") from None
        return context if isinstance(context, ssl.SSLContext) else system_context()


class _SilentError(Exception):
    """`host` has accepted the connection, but the handshake failed with `error`."""

    def __init__(self, error: OSError, host: tuple[str, int]) -> None:
        super().__init__(error, host)
        self.error: Exception = error
        self.host = host


async def _within(seconds: float, of: int, way: Awaitable[Made]) -> Made:
    """Return the result of `way`, one of `of` attempts that share the time; some is left for `explain`."""
    async with asyncio.timeout(SHARE * seconds / of):
        return await way


async def _speaks_tls(sock: socket.socket) -> bool:
    """Tell whether the other side answers the beginning of a handshake with a TLS record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(coming, going, server_hostname="localhost").do_handshake()
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, going.read())
    return (await loop.sock_recv(sock, 1))[:1] in _TLS_RECORDS


async def _speaks_plain(sock: socket.socket) -> bool:
    """Tell whether the other side answers like Redis without TLS: `+PONG`, or that it wants a password."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"PING\r\n")
    return await loop.sock_recv(sock, 1) in {b"+", b"-"}
