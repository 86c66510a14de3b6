"""Servers that flood and servers that drip, beside what honest ones send."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest
from yarl import URL

from scaler.clients.http import wire
from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, fetch
from scaler.clients.http.names import Names
from scaler.clients.http.session import open_session
from scaler.clients.http.wire import FloodError, Wire
from scaler.core.errors import Unavailable
from scaler.demo.raw_http import RawServer, answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20


async def fetched(told: bytes, names: Names) -> bytes:
    server = RawServer(told)
    await server.start()
    pieces: list[bytes] = []
    async with open_session(Addresses(), names) as session:
        request = Request(url=URL(f"http://127.0.0.1:{server.port}/"), where="the page", max_bytes=4 * MIB)
        try:
            await fetch(session, request, pieces.append)
        finally:
            await server.close()
    return b"".join(pieces)


FLOODS = {
    "chunks of one byte": CHUNKED + b"1\r\nx\r\n" * 200_000,
    "an extension of a chunk without an end": CHUNKED + b"1;" + b"y" * MIB,
    "fields after the last chunk": CHUNKED + b"0\r\n" + b"X: y\r\n" * 200_000,
    "100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_ended(name: str, names: Names) -> None:
    with pytest.raises(Unavailable, match=r"the page: the answer has more around its body|the page: .*no valid HTTP"):
        await fetched(FLOODS[name], names)


async def test_short_chunks_of_a_long_body_are_none(names: Names) -> None:
    body = b"workqueue_depth 1\n" * 20_000
    told = CHUNKED + b"".join(b"12\r\n%b\r\n" % body[at : at + 18] for at in range(0, len(body), 18)) + b"0\r\n\r\n"

    assert await fetched(told, names) == body


async def test_many_fields_and_a_body_are_none(names: Names) -> None:
    fields = {f"X-{number}": "y" * 500 for number in range(100)}

    assert await fetched(answer(b"hello", headers=fields), names) == b"hello"


async def test_answers_that_nobody_asked_for_end_the_connection(names: Names) -> None:
    taken, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"hello"))
        await taken.wait()
        with suppress(OSError):
            while True:
                writer.write(answer(b"") * 1_000)
                await writer.drain()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_session(Addresses(), names) as session, asyncio.timeout(10):
        async with session.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as found:
            assert await found.read() == b"hello"
        taken.set()
        await ended.wait()


async def test_an_answer_that_was_there_before_the_request_is_not_taken_for_its_answer(names: Names) -> None:
    more, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"asked for"))
        await more.wait()
        writer.write(answer(b"not asked for"))
        with suppress(OSError):
            await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_session(Addresses(), names) as session, asyncio.timeout(10):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with session.get(url) as found:
            assert await found.read() == b"asked for"
        kept = next(iter(session.connector._conns.values()))[0][0]  # type: ignore[union-attr]  # the one that waits for the next request
        more.set()
        while not kept.should_close:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        async with session.get(url) as found:
            assert await found.read() == b"asked for"
    await ended.wait()


class Transport(asyncio.Transport):
    """Notes whether it is read from."""

    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Do nothing more."""


async def test_a_connection_that_drips_is_read_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LONGEST_REST_SECONDS", 0.0)
    transport, protocol = Transport(), Wire(asyncio.get_running_loop())
    protocol.connection_made(transport)
    protocol.set_response_params()
    protocol.data_received(CHUNKED)
    for _ in range(wire.QUICK_READS):
        assert transport.reading
        protocol.data_received(b"1\r\nx\r\n")
    assert not transport.reading

    async with asyncio.timeout(10):
        while not transport.reading:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
    protocol.set_response_params()
    protocol.data_received(b"HTTP/1.1 200 OK\r\n")
    assert transport.reading


async def test_whoever_waits_is_told_of_a_flood() -> None:
    protocol = Wire(asyncio.get_running_loop())
    protocol.connection_made(Transport())
    protocol.set_response_params()
    protocol.data_received(CHUNKED)
    _, body = await protocol.read()
    protocol.data_received(b"1\r\nx\r\n" * 20_000)

    with pytest.raises(FloodError):
        await body.read()
    assert isinstance(protocol.exception(), aiohttp.ClientPayloadError)
