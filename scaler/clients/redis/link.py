"""One connection at the level of bytes: TLS, login, and round trips with limits."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import hiredis

from scaler.clients.redis.faults import Command
from scaler.clients.redis.resp import MORE, ProtocolError, Push, RedisError, Replies, Shape
from scaler.core.turns import rest

MAX_ANSWER_BYTES = 32 << 20
"""Memory for the answers of one round trip; a URL in metadata may lead to a hostile server."""
MAX_ELEMENTS = 250_000
"""Limit for an answer to a command that is not in `_SHAPES`: the members of a set, the fields of a hash."""
CLIENT_NAME = "keda-queue-scaler"

MAX_UNASKED = 1_000
"""Push messages before an answer."""
QUICK_READS, SMALL_BYTES, LONGEST_PAUSE_SECONDS = 32, 1 << 10, 0.1
"""After so many reads of a round trip that brought less than this on average, reading pauses: a server that sends single
bytes would cost as much as a thousand honest ones."""
BUFFER_BYTES = 32 << 10
READ_BYTES = 8 << 10
"""Bytes parsed at once, in at most a millisecond; then other tasks may run."""
COMMANDS_AT_ONCE = 1_000
"""Commands packed at once, in about a millisecond."""
SHORT_BYTES, INFO_BYTES = 1 << 10, 32 << 10
"""Limits of a string that is a number, a name or a word, and of `INFO` of one section (of all, where a server ignores that)."""
_NO_LIST, _ANY, _WORD = Shape(0, 0), Shape(MAX_ELEMENTS, 1), Shape(0, 0, SHORT_BYTES)
_SHAPES: Final[dict[str, Shape]] = {
    **dict.fromkeys(("LINDEX", "HGET"), _NO_LIST),
    **dict.fromkeys(("LLEN", "ZCARD", "SCARD", "PTTL", "GET", "SELECT", "AUTH"), _WORD),
    "INFO": Shape(0, 0, INFO_BYTES),
    "TIME": Shape(2, 1, SHORT_BYTES),
    "SCAN": Shape(MAX_ELEMENTS, 2),
    "SSCAN": Shape(MAX_ELEMENTS, 2),
    "HSCAN": Shape(MAX_ELEMENTS, 2),
    "HELLO": Shape(1_000, 6, SHORT_BYTES),  # with the modules, each a map with its arguments
    "ROLE": Shape(1_000, 3, SHORT_BYTES),  # a master lists its replicas
    "SENTINEL": Shape(1_000, 2, SHORT_BYTES),
}

Grow = Callable[[int], None]
"""Called with the memory of the answers since its last call, in bytes; raises if there is no room for them."""


def ignored(_bytes: int) -> None:
    """Do nothing, where the memory of answers is not counted."""


def shape_of(command: Command) -> Shape:
    """Return the largest possible answer to `command`."""
    name = str(command[0]).upper()
    if name in {"HMGET", "MGET"}:
        return Shape(len(command) - 1, 1)
    if name == "ZRANGEBYSCORE" and "LIMIT" in command:  # … [WITHSCORES] … LIMIT offset count
        return Shape(int(command[command.index("LIMIT") + 2]) * 2, 1)
    return _SHAPES.get(name, _ANY)


class Link:
    """An open connection; it must be closed after any error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: tuple[str, int]) -> None:
        """Use `over` instead; `host` is the IP address and port of the server."""
        self._reader, self._writer, self.host = reader, writer, host
        self._replies = Replies(MAX_ANSWER_BYTES)
        self._reads = self._came = self._unasked = 0
        self.heard = False
        """Whether the server has sent anything."""

    @classmethod
    async def over(cls, sock: socket.socket, host: tuple[str, int], context: ssl.SSLContext | None, name: str) -> Self:
        """Return a link on `sock`, which is connected to `host`, with TLS for `name` if there is a `context`."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls: dict[str, Any] = {} if context is None else {"ssl": context, "server_hostname": name}
        reader, writer = await asyncio.open_connection(sock=sock, limit=BUFFER_BYTES, **tls)
        return cls(reader, writer, host)

    async def log_in(self, protocol: int, username: str | None, password: str | None) -> None:
        """Log in, and choose the version of the protocol; raises what Redis answers."""
        if protocol == 3:
            auth = ("AUTH", username or "default", password) if password else ()
            (answer,) = await self.round_trip([("HELLO", 3, *auth)])
        elif password:
            try:
                (answer,) = await self.round_trip([("AUTH", *filter(None, [username]), password)])
            except RedisError as error:
                if not (username and "wrong number of arguments" in str(error)):
                    raise
                (answer,) = await self.round_trip([("AUTH", password)])  # Redis before 6 has no users
        else:
            return
        if isinstance(answer, Exception):
            raise answer

    async def round_trip(self, commands: Sequence[Command], grow: Grow = ignored) -> list[Any]:
        """Return an answer or an error for each of `commands`; an error of the whole server is raised."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the connection is lost")
        self._begin()
        counted = 0
        # redis-py's own packing in Python takes five times as long
        pack: Any = hiredis.pack_command  # its stub only allows commands of one word
        for start in range(0, len(commands), COMMANDS_AT_ONCE):
            if start:
                await rest()
            self._writer.write(b"".join(map(pack, commands[start : start + COMMANDS_AT_ONCE])))
        answers: list[Any] = []
        for command in commands:
            answer = self._next(shape := shape_of(command))
            while answer is MORE:
                grow(self._replies.bytes - counted)
                counted = self._replies.bytes
                await self._feed()
                answer = self._next(shape)
            if isinstance(answer, RedisError) and answer.of_server:
                raise answer
            answers.append(answer)
        grow(self._replies.bytes - counted)
        return answers

    def _next(self, shape: Shape) -> Any:
        """Return the next answer, dropping push messages before it."""
        while isinstance(answer := self._replies.get(shape), Push):
            self._note_unasked()
        return answer

    def _begin(self) -> None:
        self._replies.begin(MAX_ANSWER_BYTES)
        self._reads = self._came = self._unasked = 0

    def _note_unasked(self) -> None:
        self._unasked += 1
        if self._unasked > MAX_UNASKED:
            raise ProtocolError(f"more than {MAX_UNASKED} messages that were not asked for")

    async def _feed(self) -> None:
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise ConnectionResetError("the connection is closed by the other side")
        self.heard = True
        if len(data) == READ_BYTES:  # a part of something long
            await rest()
        self._replies.feed(data)
        self._reads, self._came = self._reads + 1, self._came + len(data)
        if self._reads > QUICK_READS and self._came < SMALL_BYTES * self._reads:
            transport: Any = self._writer.transport  # that of a socket can be paused
            transport.pause_reading()
            await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, 0.001 * (self._reads - QUICK_READS)))
            transport.resume_reading()

    async def next_invalidation(self) -> list[bytes] | None:
        """Return the keys of the next invalidation message; None means all."""
        self._unasked = 0
        while True:
            self._replies.begin(MAX_ANSWER_BYTES)
            self._reads = self._came = 0
            while (message := self._replies.get(_NO_LIST)) is MORE:
                await self._feed()
            if isinstance(message, Push) and message[:1] == [b"invalidate"] and len(message) == 2:
                keys: list[bytes] | None = message[1]
                return keys
            self._note_unasked()

    def close(self) -> None:
        """Close it; closing twice does no harm."""
        self._writer.transport.abort()
