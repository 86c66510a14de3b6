import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import MAX_TRIED, Names
from scaler.clients.http.session import CERTAIN_SECONDS, Sessions, open_session
from scaler.core.errors import Refused
from scaler.demo.clock import ManualClock
from scaler.demo.name_server import NameServer


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Serve a page that sets a cookie and echoes what came, and a redirect to the address of cloud credentials."""

    async def echo(request: web.Request) -> web.Response:
        answer = web.json_response({"cookies": dict(request.cookies)})
        answer.set_cookie("session", "1")
        return answer

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")

    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_get("/away", away)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_what_may_be_read_is_read_and_cookies_are_not_kept(url: str, names: Names) -> None:
    async with open_session(Addresses(), names) as session:
        for _ in range(2):
            async with session.get(url) as answer:
                assert await answer.json() == {"cookies": {}}


async def test_the_guard_sits_where_connections_are_made(url: str, names: Names) -> None:
    async with open_session(Addresses(allow_loopback=False), names) as session:
        with pytest.raises((Refused, aiohttp.ClientConnectorError)) as caught:
            await session.get(url)
    assert "no trigger reads loopback" in f"{caught.value} {caught.value.__cause__}"


async def test_a_few_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """To try 1,000 at which nobody listens took 2.6 s of the processor."""
    names = Names()

    async def look_up(*_: object) -> tuple[str, ...]:
        return tuple(f"127.0.0.{number}" for number in range(1, 100))

    monkeypatch.setattr(names, "look_up", look_up)
    tried: list[str] = []
    monkeypatch.setattr(Addresses, "open_socket", lambda _, info: tried.append(info[4][0]) or socket.socket())
    async with open_session(Addresses(), names) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("http://many.test:1/")
    assert len(set(tried)) == MAX_TRIED


async def test_a_name_with_one_forbidden_address_is_refused_whole_and_named() -> None:
    server = NameServer({"a.test": ["10.0.0.1", "169.254.169.254", "fe80::1"]})
    await server.start()
    async with open_session(Addresses(), Names(servers=[server.address])) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get("http://a.test./")
    assert isinstance(caught.value.os_error, Refused)
    assert "a.test.: address 169.254.169.254 is refused: link-local" in str(caught.value.os_error)
    server.close()


async def test_a_redirect_passes_the_guard_too(url: str, names: Names) -> None:
    async with open_session(Addresses(), names) as session:
        with pytest.raises((Refused, aiohttp.ClientConnectorError)) as caught:
            await session.get(f"{url}/away")
    assert "cloud metadata" in f"{caught.value} {caught.value.__cause__}"


async def test_proxies_of_the_environment_are_not_used(url: str, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would connect where the guard cannot see."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with open_session(Addresses(), names) as session, session.get(url) as answer:
        assert answer.status == 200


async def test_another_server_behind_the_same_address_is_found(names: Names) -> None:
    """As behind a Service whose selector has changed: whoever is connected stays with the old one."""
    behind, clock = b"old", ManualClock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = behind
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + mine)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sessions = Sessions(clock, Addresses(), names)

    async def read() -> bytes:
        session = await sessions.get()
        async with session.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as answer:
            return await answer.read()

    assert await read() == b"old"
    behind = b"new"
    reads = []
    for _ in range(4):
        reads.append(await read())
        await clock.advance(CERTAIN_SECONDS / 2)
    assert reads == [b"old", b"old", b"new", b"new"]
    await sessions.close()
    server.close()


async def test_a_read_under_way_is_not_cut_off_by_a_new_session(names: Names) -> None:
    clock = ManualClock()
    sessions = Sessions(clock, Addresses(), names)
    first = await sessions.get()
    await clock.advance(CERTAIN_SECONDS)
    second = await sessions.get()
    assert (second is first, first.closed) == (False, False)
    await clock.advance(CERTAIN_SECONDS)
    await sessions.get()
    assert (first.closed, second.closed) == (True, False)
    await sessions.close()
    assert second.closed
