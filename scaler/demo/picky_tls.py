"""A TLS server that insists on the key exchange of its choice, for one that costs a client much."""

import asyncio
import os
import struct

FFDHE = {256: 256, 257: 384, 258: 512, 259: 768, 260: 1024}
"""Groups in finite fields, ffdhe2048 to ffdhe8192, and the bytes of their keys (RFC 8446, 4.2.7)."""
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random number that makes a ServerHello a HelloRetryRequest (RFC 8446, 4.1.3)."""


class PickyTls:
    """Asks for a key exchange in `group`, and sends a key without meaning then, which a client finds out too late."""

    def __init__(self, group: int) -> None:
        """Listen nowhere yet."""
        self._group = group
        self.then: asyncio.Queue[bytes] = asyncio.Queue()
        """The first byte that each client sent when it was asked, b"" for none."""
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readexactly(5)
            hello = head + await reader.readexactly(int.from_bytes(head[3:]))
            writer.write(server_hello(hello, _RETRY, struct.pack("!H", self._group)))
            self.then.put_nowait(await reader.read(1))
            size = FFDHE.get(self._group, 0)
            writer.write(server_hello(hello, os.urandom(32), struct.pack("!HH", self._group, size) + b"\x7f" * size))
            await reader.read()
        except (OSError, EOFError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


def server_hello(hello: bytes, random: bytes, share: bytes) -> bytes:
    """Return the ServerHello to the record `hello`, with the extension `key_share`."""
    session = hello[43 : 44 + hello[43]]
    extensions = struct.pack("!HHHHH", 43, 2, 0x0304, 51, len(share)) + share
    body = b"\x03\x03" + random + session + b"\x13\x01\x00" + struct.pack("!H", len(extensions)) + extensions
    return b"\x16\x03\x03" + struct.pack("!HBBH", len(body) + 4, 2, 0, len(body)) + body
