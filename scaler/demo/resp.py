"""A server with Redis' protocol and scripted answers, for faults that a real server does not have."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import hiredis

Command = list[bytes]
Script = Callable[[Command], bytes | None]
"""Returns the raw answer to a command, None for no answer."""


def array(*items: bytes) -> bytes:
    """Return an array of `items`."""
    return b"*%d\r\n" % len(items) + b"".join(b"$%d\r\n%s\r\n" % (len(item), item) for item in items)


MASTER = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
"""The answer of a master without replicas to `ROLE`."""


class RespServer:
    """Listens on 127.0.0.1, on a free port or on a given one; `answer` may be replaced at any time."""

    def __init__(self, answer: Script = lambda _: b"+OK\r\n", *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Answer every command with `answer`."""
        self.answer = answer
        self._host = host
        self.commands: list[Command] = []
        self.port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()

    @property
    def connections(self) -> int:
        """The number of connected clients."""
        return len(self._writers)

    def drop(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._tasks.add(asyncio.current_task())
        commands = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    self.commands.append(command)
                    if (answer := self.answer(command)) is not None:
                        writer.write(answer)
                await writer.drain()
        except (OSError, hiredis.ProtocolError):
            pass  # the client has closed the connection, or uses another protocol
        finally:
            self._writers.discard(writer)
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self.drop()
            await asyncio.gather(*filter(None, self._tasks))
            await self._server.wait_closed()
