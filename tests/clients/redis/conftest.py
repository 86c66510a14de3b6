from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from scaler.clients.http.addresses import Addresses
from scaler.clients.redis.connection import RedisConnection
from scaler.clients.redis.server import RedisServer
from scaler.core.errors import Fault
from scaler.demo.valkey import Valkey

ANYWHERE = Addresses()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    with Valkey(password="canary-word") as started:
        yield started


@asynccontextmanager
async def open_and_close(url: str, guard: Addresses = ANYWHERE, **options: Any) -> AsyncIterator[RedisConnection]:
    files = {name: options.pop(name) for name in list(options) if name.endswith("_file")}
    server = RedisServer(url=SecretStr(url), **files)
    connection = await RedisConnection.open(server, guard, "redis/main", **options)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def connected() -> Callable[..., AbstractAsyncContextManager[RedisConnection]]:
    """Return a context manager for a connection to a URL; names of files are those of the configuration."""
    return open_and_close


@pytest.fixture
def refusal() -> Callable[..., Awaitable[Fault]]:
    """Return a function that connects to a URL and returns the fault that hinders it."""

    async def refused(url: str, guard: Addresses = ANYWHERE, **options: Any) -> Fault:
        with pytest.raises(Fault) as error:
            async with open_and_close(url, guard, **options) as connection:
                await connection.ask([("PING",)])
        return error.value

    return refused
