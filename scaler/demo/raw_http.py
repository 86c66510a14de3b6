"""A web server that sends given bytes, for answers that no correct server sends."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Mapping


def answer(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return an HTTP answer, well formed unless `headers` change that."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if not any(line.startswith(("Content-Length:", "Transfer-Encoding:")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class RawServer:
    """Sends `answer`, or its result for the head of a request, and closes the connection; None: no answer."""

    def __init__(self, answer: bytes | Callable[[str], bytes | None] | None) -> None:
        """Take the first `answer`, which may be changed later."""
        self.answer = answer
        self.heads: list[str] = []
        self.asked = asyncio.Event()  # set after the first request
        self.port = 0
        self.resets = False  # whether connections are reset instead of closed
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Listen on `host`; `port` 0 takes any."""
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            self.asked.set()
            response = self.answer(head) if callable(self.answer) else self.answer
            if response is None:
                await reader.read()  # until the client closes the connection
            else:
                writer.write(response)
                await writer.drain()
                if self.resets:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except (OSError, EOFError):
            pass  # the client has closed the connection
        finally:
            self._open.discard(writer)
            writer.close()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
