"""A gRPC client that costs little: HTTP/2 frames of prepared bytes, so that a load test measures the server and not itself.

grpcio's own client costs as much as the server. This one sends every header literally and reads of an answer only
whether it has a message, which a good unary answer has and an error has not (gRPC over HTTP/2, PROTOCOL-HTTP2.md).
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4  # of SETTINGS
DEFAULT_WINDOW, WIDE_WINDOW, FRAME_BYTES = 65_535, 1 << 30, 16_384
SERVICE = "/externalscaler.ExternalScaler/"

Done = Callable[[bytes | None], None]
"""Called with the bytes of the first message, or None for an error."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """Return a header without indexing (RFC 7541, 6.2.2); both parts are shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def header_block(method: str) -> bytes:
    """Return the headers of a call of `method` of the scaler's service, as grpc-go sends them."""
    fields = {
        ":path": SERVICE + method,
        ":authority": "scaler",
        "content-type": "application/grpc",
        "user-agent": "grpc-go/1.80.0",
        "te": "trailers",
    }
    # 0x83 and 0x86 are `:method: POST` and `:scheme: http` of the static table.
    return b"\x83\x86" + b"".join(_literal(name.encode(), value.encode()) for name, value in fields.items())


@dataclass(slots=True)
class _Call:
    done: Done
    on_message: Callable[[], None] | None
    message: bytes | None = None


class Wire(asyncio.Protocol):
    """One connection, as KEDA has one for each address."""

    def __init__(self) -> None:
        """Connect with `open`."""
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._calls: dict[int, _Call] = {}
        self._next_stream = 1
        self._window = DEFAULT_WINDOW
        self._waiting: deque[tuple[bytes, bytes, _Call]] = deque()
        self._received = 0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to `port` of this machine."""
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return wire

    @property
    def pending(self) -> int:
        """Calls without an answer, and open streams."""
        return len(self._calls) + len(self._waiting)

    def call(self, headers: bytes, message: bytes, done: Done, on_message: Callable[[], None] | None = None) -> None:
        """Send `message`; `done` is called when the answer has ended, `on_message` for each message of it."""
        self._waiting.append((headers, message, _Call(done, on_message)))
        self._send()

    async def ask(self, headers: bytes, message: bytes) -> bytes | None:
        """Return the answer to `message`, or None for an error."""
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.call(headers, message, answer.set_result)
        return await answer

    def _send(self) -> None:
        out = []
        while self._waiting and self._window >= len(self._waiting[0][1]) + 5:
            headers, message, call = self._waiting.popleft()
            stream, self._next_stream = self._next_stream, self._next_stream + 2
            self._calls[stream] = call
            self._window -= len(message) + 5
            body = b"\0" + struct.pack(">I", len(message)) + message
            out.append(_frame(HEADERS, END_HEADERS, stream, headers))
            for start in range(0, len(body), FRAME_BYTES):
                last = start + FRAME_BYTES >= len(body)
                out.append(_frame(DATA, END_STREAM if last else 0, stream, body[start : start + FRAME_BYTES]))
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open wide windows, so that the server never waits for this side."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection makes
        self._transport = transport
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, WIDE_WINDOW)
        grow = struct.pack(">I", WIDE_WINDOW)
        transport.write(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, grow)
        )

    def data_received(self, data: bytes) -> None:
        """Take in whole frames."""
        data, at = self._buffer + data, 0
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3])
            if len(data) - at - 9 < size:
                break
            self._take(data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9]), data[at + 9 : at + 9 + size])
            at += 9 + size
        self._buffer = data[at:]
        self._send()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            call = self._calls[stream]
            if call.message is None:
                call.message = payload[5:]
            if call.on_message is not None:
                call.on_message()
            self._received += len(payload)
            if self._received > WIDE_WINDOW // 2:
                self._write(_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
                self._received = 0
        elif kind == SETTINGS and not flags & ACK:
            self._write(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._write(_frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload)
        if kind == RST_STREAM or (kind in {DATA, HEADERS} and flags & END_STREAM):
            call = self._calls.pop(stream)
            call.done(call.message)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all calls."""
        del error
        self._transport = None
        calls, self._calls = [*self._calls.values(), *(call for _, _, call in self._waiting)], {}
        self._waiting.clear()
        for call in calls:
            call.done(None)
        if not self.lost.done():
            self.lost.set_result(None)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()
