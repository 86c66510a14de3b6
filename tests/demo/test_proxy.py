"""The proxy that breaks connections: what it cannot forward is closed, at whatever moment it came."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from scaler.demo.proxy import Proxy, Trouble


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as backend:
        proxy = Proxy(backend.sockets[0].getsockname()[1])
        await proxy.start()
        yield proxy
        await proxy.close()


@pytest.mark.parametrize("steps", range(7))
async def test_a_connection_that_comes_while_it_closes_is_closed(proxy: Proxy, steps: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", proxy.port)) as caller:  # the kernel accepts it, the loop does later
        for _ in range(steps):
            await asyncio.sleep(0)
        await proxy.turn(Trouble.REFUSE)
        caller.setblocking(False)
        with suppress(ConnectionResetError):  # or closed, where it was already forwarded
            assert await asyncio.wait_for(loop.sock_recv(caller, 1), 10) == b""
    gc.collect()  # what was left open would be told here, and fail the test


async def test_what_comes_when_the_trouble_is_over_passes(proxy: Proxy) -> None:
    await proxy.turn(Trouble.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.turn(Trouble.NONE)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"here")
    assert await reader.read() == b"here"
    writer.close()
