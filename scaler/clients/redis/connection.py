"""One connection to a Redis: it passes the address guard, and is bounded in time and in size."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import hiredis
from redis import exceptions as errors
from redis.asyncio.connection import Connection

from scaler.clients.http.addresses import Addresses
from scaler.clients.redis.faults import Command, fault_of
from scaler.clients.redis.server import RedisServer, RedisUrl, address
from scaler.core.errors import Fault, Refused, Unavailable

CONNECT_SECONDS = 2.0
SENTINEL_SECONDS = 0.6
"""For one Sentinel, so that the third is still asked when two are gone."""
ANSWER_SECONDS = 2.0
"""For all answers of one round trip together."""
MAX_ANSWER_BYTES = 32 << 20
"""Of one round trip. A metadata URL leads to whatever a tenant runs, and hiredis would buffer 512 MB for one value."""
CLIENT_NAME = "keda-queue-scaler"


class RedisConnection:
    """An open connection, authenticated and in its database; of a Sentinel URL, to the present master."""

    def __init__(self, link: "_Link", dialer: "_Dialer", *, check_master: bool) -> None:
        """Made by `open`."""
        self._link = link
        self._dialer = dialer
        self._check_master = check_master

    @classmethod
    async def open(
        cls, server: RedisServer, guard: Addresses, where: str, *, protocol: int = 2, seconds: float = CONNECT_SECONDS
    ) -> Self:
        """Connect to `server`, called `where` in messages, within `seconds`; raises the `Fault` that hinders it.

        Files with passwords and certificates are read anew each time, so that they may be rotated.
        """
        url = server.where
        dialer = _Dialer(server, guard, f"{where} ({url})")
        password = dialer.secret(server.password_file, "passwordFile") or url.password
        dialer.hide(password, url.password, url.username)
        login = {"username": url.username if password else None, "password": password, "db": url.database}
        try:
            async with asyncio.timeout(seconds):
                host = url.hosts[0] if url.master is None else await dialer.find_master(url)
                link = await dialer.dial(host, protocol=protocol, **login)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as a fault
            raise dialer.fault(error, seconds=seconds) from None
        made = cls(link, dialer, check_master=url.master is not None)
        # An ACL may forbid it, and nothing depends on it; but it shows whether Redis wants a password.
        await made.ask([("CLIENT", "SETNAME", CLIENT_NAME)])
        return made

    async def ask(self, commands: Sequence[Command], *, seconds: float = ANSWER_SECONDS) -> list[Any]:
        """Send all `commands` at once and return their answers: one round trip of at most `seconds`.

        An error that Redis answers to one command takes the place of its answer, see `fault`. Whatever else goes wrong
        closes the connection and raises a `Fault`.
        """
        role: list[Command] = [("ROLE",)] if self._check_master else []
        try:
            async with asyncio.timeout(seconds):
                answers = await self._link.round_trip([*role, *commands])
            if role:
                self._expect_master(answers.pop(0))
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception):
                raise self._dialer.fault(error, seconds=seconds) from None
            raise
        return answers

    def fault(self, error: Exception, command: Command) -> Fault:
        """Return what the error that Redis answered to `command` means."""
        return self._dialer.fault(error, command=command)

    async def invalidated(self) -> list[bytes] | None:
        """Wait for client tracking to tell which keys have changed; None stands for all.

        Raises a `Fault` when the connection is lost, and closes it.
        """
        try:
            return await self._link.next_invalidation()
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception):
                raise self._dialer.fault(error) from None
            raise

    async def close(self) -> None:
        """Close it; closing twice does no harm."""
        await self._link.disconnect(nowait=True)

    def _expect_master(self, role: Any) -> None:
        """Raise unless `role` is a master's: after a failover this may be the old one (redis.io, Sentinel clients)."""
        if isinstance(role, Exception):
            raise self.fault(role, ("ROLE",))
        if not isinstance(role, list) or role[:1] != [b"master"]:
            raise Unavailable("this is no master any more; Sentinel's failover may be under way")


class _Dialer:
    """Makes connections to one server, and speaks of it without its secrets."""

    def __init__(self, server: RedisServer, guard: Addresses, where: str) -> None:
        self._server = server
        self._guard = guard
        self._where = where
        self._secrets: set[str] = set()

    def hide(self, *secrets: str | None) -> None:
        """Keep `secrets` out of every message."""
        self._secrets.update(secret for secret in secrets if secret)

    def fault(self, error: BaseException, *, command: Command = (), seconds: float = 0.0) -> Fault:
        """Return `error` as a fault of this server."""
        return fault_of(error, self._where, command=command, seconds=seconds, secrets=self._secrets)

    def secret(self, file: Path | None, setting: str) -> str | None:
        """Return the content of a secret's file, or None without a file."""
        if file is None:
            return None
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise Unavailable(f"{self._where}: cannot read {setting} {file}: {reason}") from None

    async def dial(self, host: tuple[str, int], **options: Any) -> "_Link":
        """Connect to `host` and log in; raises whatever goes wrong."""
        sock = await self._open_socket(*host)
        try:
            tls = {"ssl": self._context(), "server_hostname": host[0]} if self._server.where.tls else {}
            link = _Link({"sock": sock, **tls}, host=host[0], port=host[1], **options)
            try:
                await link.connect()  # type: ignore[no-untyped-call]  # redis-py annotates it in part
            except BaseException:
                await link.disconnect(nowait=True)
                raise
        except BaseException:
            sock.close()
            raise
        return link

    async def _open_socket(self, host: str, port: int) -> socket.socket:
        """Connect to an address of `host` that the guard lets pass: the name is not looked up again after that."""
        loop = asyncio.get_running_loop()
        failure = OSError("the name has no address")
        for info in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = self._guard.open_socket(info)
            try:
                await loop.sock_connect(sock, info[4])
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    def _context(self) -> ssl.SSLContext:
        server = self._server
        try:
            context = ssl.create_default_context(cafile=server.ca_file)
            if server.cert_file:
                context.load_cert_chain(server.cert_file, server.key_file)
        except OSError as error:  # also ssl.SSLError: no certificate in the file, or a key of another one
            reason = error.strerror or type(error).__name__
            raise Unavailable(f"cannot use caFile, certFile or keyFile: {reason}") from None
        return context

    async def find_master(self, url: RedisUrl) -> tuple[str, int]:
        """Ask one Sentinel after the other where the master is (redis.io, guidelines for Sentinel clients)."""
        password = self.secret(self._server.sentinel_password_file, "sentinelPasswordFile")
        self.hide(password)
        problem: Fault | None = None
        for host in url.hosts:
            try:
                async with asyncio.timeout(SENTINEL_SECONDS):
                    return await self._ask_sentinel(host, password, url.master or "")
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one Sentinel, the next may know
                found = fault_of(error, f"Sentinel {address(*host)}", seconds=SENTINEL_SECONDS, secrets=self._secrets)
                # One that answers knows more than one that does not.
                problem = found if problem is None or isinstance(found, Refused) else problem
        raise problem or Unavailable("the URL names no Sentinel")

    async def _ask_sentinel(self, host: tuple[str, int], password: str | None, master: str) -> tuple[str, int]:
        link = await self.dial(host, password=password, protocol=2)
        try:
            (answer,) = await link.round_trip([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)])
        finally:
            await link.disconnect(nowait=True)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise Refused(f"knows no master named {master}")
        name, port = answer
        return name.decode("ascii"), int(port)


class _Link(Connection):
    """redis-py's connection over a socket that has passed the guard; it is made once and never again."""

    def __init__(self, arguments: dict[str, Any], **options: Any) -> None:
        super().__init__(socket_timeout=None, socket_connect_timeout=None, **options)
        self._arguments = arguments

    def _connection_arguments(self) -> dict[str, Any]:
        arguments, self._arguments = self._arguments, {}
        if not arguments:
            raise ConnectionResetError("the connection is lost")
        return arguments

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py annotates it in part
        self._reader: Any = _Metered(self._reader)

    async def round_trip(self, commands: Sequence[Command]) -> list[Any]:
        """Return an answer or an error for each of `commands`."""
        if self._reader is not None:
            self._reader.left = MAX_ANSWER_BYTES
        # redis-py's own packing, in Python, takes five times as long
        pack: Any = hiredis.pack_command  # annotated for commands of one word
        await self.send_packed_command(b"".join(map(pack, commands)))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await self.read_response())
            except errors.ResponseError as error:
                answers.append(error)
        return answers

    async def next_invalidation(self) -> list[bytes] | None:
        """Return the keys of the next invalidation; None for all."""
        parser: Any = self._parser
        if hasattr(parser, "set_invalidation_push_handler"):  # older ones return every push by themselves
            parser.set_invalidation_push_handler(_pass_on)
        self._reader.left = MAX_ANSWER_BYTES
        while True:
            message = await self.read_response(push_request=True)
            if isinstance(message, list) and message[:1] == [b"invalidate"]:
                keys: list[bytes] | None = message[1]
                return keys


async def _pass_on(message: Any) -> Any:
    """Let `read_response` return the invalidation itself."""
    return message


class _Metered:
    """A stream reader that gives only so many bytes for one round trip."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.left = MAX_ANSWER_BYTES

    async def read(self, size: int) -> bytes:
        """Return what has arrived, up to `size` bytes."""
        data = await self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise Unavailable(f"more than {MAX_ANSWER_BYTES >> 20} MiB of answers")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
