from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from scaler.clients.http.addresses import Addresses
from scaler.clients.redis.connection import RedisConnection, Target
from scaler.clients.redis.dialer import Dialer, SystemNames
from scaler.clients.redis.sentinel import Sentinels
from scaler.clients.redis.server import RedisServer
from scaler.core.clock import SystemClock
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
    names = options.pop("names", SystemNames())
    dialer = Dialer(RedisServer(url=SecretStr(url), **files), guard, names, "redis/main")
    clock, target, sentinels = SystemClock(), Target(dialer.url.hosts[0]), None
    if dialer.url.master is not None:
        sentinels = Sentinels(dialer, clock)
        named, by = await sentinels.master()
        sentinels.close()
        target = Target(named.host, by)
    connection = await RedisConnection.open(dialer, clock, target, **options)
    try:
        yield connection
    finally:
        connection.close()


class Zone:
    """Host names as a test wants them; each look-up takes the next of the answers, and the last one stays."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bool]] = []

    async def look_up(self, host: str, *, fresh: bool = False) -> tuple[str, ...]:
        self.asked.append((host, fresh))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def zone() -> type[Zone]:
    """Return the class whose objects look up host names."""
    return Zone


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
