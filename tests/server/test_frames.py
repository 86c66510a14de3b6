"""Frames of HTTP/2 that no client of KEDA sends: what the server allows one connection to do."""

import asyncio
import struct

from tests.server.conftest import Serve

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK, MAX_CONCURRENT_STREAMS = 1, 3


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, 0) + payload


async def frames(reader: asyncio.StreamReader, last: tuple[int, bytes]) -> list[tuple[int, int, bytes]]:
    """Return the frames that come, each with its flags and payload, until one of this kind with this payload."""
    found: list[tuple[int, int, bytes]] = []
    while not found or (found[-1][0], found[-1][2]) != last:
        head = await reader.readexactly(9)
        found.append((head[3], head[4], await reader.readexactly(int.from_bytes(head[:3]))))
    return found


async def test_streams_of_one_connection_have_a_limit_and_pings_do_not_end_it(serve: Serve) -> None:
    """Streams that are reset at once took 6 GB without that limit, and pings 7 GB with the one that the core has."""
    async with serve() as keda, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", keda.server.port)
        pings = [b"%08d" % number for number in range(20)]
        writer.write(PREFACE + frame(SETTINGS) + b"".join(frame(PING, ping) for ping in pings))
        found = await frames(reader, (PING, pings[-1]))
        writer.close()
    settings = next(payload for kind, flags, payload in found if kind == SETTINGS and flags != ACK)
    told = dict(struct.iter_unpack("!HI", settings))
    assert told[MAX_CONCURRENT_STREAMS] == keda.server.settings.limits.max_streams + 5_000
    assert [payload for kind, flags, payload in found if (kind, flags) == (PING, ACK)] == pings
    assert GOAWAY not in {kind for kind, *_ in found}
