"""A TCP proxy between the scaler and a backend, which can break connections in several ways."""

import asyncio
import socket
import struct
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any

CORRUPT_EVERY = 7
"""One byte in so many is corrupted; a prime, so that it hits different columns of lines with equal lengths."""
PIECE_BYTES = 65_536


class Trouble(StrEnum):
    """The ways to break connections, open and new ones."""

    NONE = "none"
    REFUSE = "refuse"  # new connections are refused, open ones are reset
    HANG = "hang"  # connections are accepted, but no data passes until the trouble is over, as with lost packets
    DELAY = "delay"  # every answer is delayed by `seconds`
    CUT = "cut"  # a connection is closed normally after `after_bytes` of answers
    CORRUPT = "corrupt"  # single bytes of answers get their high bit flipped, which changes any ASCII text
    RESET = "reset"  # a connection is reset at the first data


class Proxy:
    """Listens on a port of 127.0.0.1, which it keeps, and forwards to the backend."""

    def __init__(self, backend_port: int, backend_host: str = "127.0.0.1") -> None:
        """Forward everything until `turn`."""
        self.port = 0
        self.connections = 0  # accepted so far
        self._backend = (backend_host, backend_port)
        self._trouble = Trouble.NONE
        self._seconds, self._after_bytes = 0.0, 0
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; the first time on any free port."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def turn(self, trouble: Trouble, *, seconds: float = 0.3, after_bytes: int = 0) -> None:
        """Make `trouble` from now on, also on open connections; `Trouble.NONE` ends it."""
        self._trouble, self._seconds, self._after_bytes = trouble, seconds, after_bytes
        self._changed.set()
        self._changed = asyncio.Event()
        if trouble is Trouble.REFUSE:
            await self.close()
        elif self._server is None:
            await self.start()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening)
        await asyncio.sleep(0)  # a connection that is just being accepted would stay open when the server closes
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        if self._server is None or not self._server.is_serving():  # it came while the server was closed
            writer.transport.abort()
            return
        try:
            back_reader, back_writer = await asyncio.open_connection(*self._backend)
            try:
                await _first(self._ask(reader, writer, back_writer), self._answer(back_reader, writer))
            finally:
                back_writer.transport.abort()
        except OSError:
            pass  # one side has closed the connection
        except asyncio.CancelledError:
            pass  # cancelled by `close`; asyncio's own callback would log it
        finally:
            writer.close()  # harmless if it was reset before

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: asyncio.StreamWriter
    ) -> None:
        """Forward the scaler's data."""
        while data := await reader.read(PIECE_BYTES):
            await self._hold()
            if self._trouble is Trouble.RESET:
                _reset(writer)
                return
            backend.write(data)
            await backend.drain()

    async def _answer(self, backend: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the backend's data, as far as the trouble allows."""
        passed = 0  # bytes since `CUT` began
        while data := await backend.read(PIECE_BYTES):
            await self._hold()
            if self._trouble is Trouble.DELAY:
                await asyncio.sleep(self._seconds)
            elif self._trouble is Trouble.CORRUPT:
                data = _corrupted(data)
            elif self._trouble is Trouble.RESET:
                _reset(writer)
                return
            elif self._trouble is Trouble.CUT:
                data = data[: self._after_bytes - passed]
                passed += len(data)
            writer.write(data)
            await writer.drain()
            if self._trouble is Trouble.CUT and passed >= self._after_bytes:
                return

    async def _hold(self) -> None:
        while self._trouble is Trouble.HANG:
            await self._changed.wait()


async def _first(*ways: Coroutine[Any, Any, None]) -> None:
    """Run all of `ways` until one ends or fails; the others are cancelled."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _corrupted(data: bytes) -> bytes:
    made = bytearray(data)
    for index in range(0, len(made), CORRUPT_EVERY):
        made[index] ^= 0x80
    return bytes(made)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
