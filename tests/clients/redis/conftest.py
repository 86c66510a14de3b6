import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.redis.attempts import Attempts
from scaler.clients.redis.connection import RedisConnection, Target
from scaler.clients.redis.dialer import Dialer
from scaler.clients.redis.pool import KeptConnection, Reach
from scaler.clients.redis.sentinel import Sentinels
from scaler.clients.redis.server import RedisRef, RedisServer, parse_url
from scaler.core.clock import SystemClock
from scaler.core.errors import Fault
from scaler.demo.clock import ManualClock
from scaler.demo.resp import MASTER, RespServer, array
from scaler.demo.valkey import Valkey
from scaler.sources.access import Access

ANYWHERE = Addresses()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    with Valkey(password="canary-word") as started:
        yield started


@asynccontextmanager
async def open_and_close(url: str, guard: Addresses = ANYWHERE, **options: Any) -> AsyncIterator[RedisConnection]:
    files = {name: options.pop(name) for name in list(options) if name.endswith("_file")}
    names = options.pop("names", own := Names())
    dialer = Dialer(RedisServer(url=SecretStr(url), **files), guard, names, "redis/main")
    clock, target = SystemClock(), Target(dialer.url.hosts[0])
    try:
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
    finally:
        await own.close()


class Zone:
    """Host names as a test wants them; each look-up takes the next of the answers, and the last one stays."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bool]] = []

    async def look_up(self, host: str, *, fresh: bool = False) -> tuple[str, ...]:
        with contextlib.suppress(ValueError):
            return (str(ipaddress.ip_address(host)),)
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


NOPERM = b"-NOPERM User scaler has no permissions to run the command\r\n"


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text)


class Fake(RespServer):
    """A Redis that tells of itself what a test wants."""

    def __init__(self, run_id: bytes = b"one", uptime: int = 1_000, **where: Any) -> None:
        super().__init__(self.say, **where)
        self.run_id, self.uptime = run_id, uptime
        self.told: dict[bytes, bytes] = {b"ROLE": MASTER, b"AUTH": b"+OK\r\n", b"SELECT": b"+OK\r\n"}

    def say(self, command: list[bytes]) -> bytes:
        if command[0] in self.told:
            return self.told[command[0]]
        if command == [b"INFO", b"server"]:
            return _bulk(b"run_id:%s\r\nuptime_in_seconds:%d\r\n" % (self.run_id, self.uptime))
        return b"+PONG\r\n" if command[0] == b"PING" else b"+OK\r\n"

    def count(self, name: bytes) -> int:
        return sum(command[0] == name for command in self.commands)


class FakeSentinel(RespServer):
    """A Sentinel that names a port of 127.0.0.1, or another host."""

    def __init__(self, port: int, epoch: int | None = 0, host: bytes = b"127.0.0.1") -> None:
        super().__init__(self.say)
        self.port_named, self.epoch, self.host = port, epoch, host

    def say(self, command: list[bytes]) -> bytes | None:
        if command[:2] == [b"SENTINEL", b"MASTER"]:
            return NOPERM if self.epoch is None else array(b"name", b"shop", b"config-epoch", b"%d" % self.epoch)
        return array(self.host, b"%d" % self.port_named) if command[0] == b"SENTINEL" else b"+OK\r\n"


@pytest.fixture
async def fake() -> AsyncIterator[Callable[..., Awaitable[Fake]]]:
    """Return a function that starts a Redis which tells what a test wants."""
    async with AsyncExitStack() as stack:
        yield lambda *told, **more: stack.enter_async_context(Fake(*told, **more))


@pytest.fixture
async def fake_sentinel() -> AsyncIterator[Callable[..., Awaitable[FakeSentinel]]]:
    """Return a function that starts a Sentinel which names a port of 127.0.0.1, or another host."""
    async with AsyncExitStack() as stack:
        yield lambda *told, **more: stack.enter_async_context(FakeSentinel(*told, **more))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def kept(clock: ManualClock, zone: type[Zone]) -> AsyncIterator[Callable[..., KeptConnection]]:
    """Return a function that keeps a connection to a URL, or to a name of the configuration."""
    made: list[KeptConnection] = []

    def make(url: str, name: str | None = None, **reach: Any) -> KeptConnection:
        parts = {
            "clock": clock,
            "addresses": Addresses(),
            "names": zone(("127.0.0.1",)),
            "redis": {},
            "attempts": Attempts(clock),
            "allow": lambda _namespace, _url: None,
            "count_requests": lambda *_: None,
            "known_names": Access().known_names,
            "rights": "docs/redis.md",
            **reach,
        }
        namespace = "shop" if parse_url(url).master else None
        ref = RedisRef("redis/x", None, SecretStr(url), namespace) if name is None else RedisRef("redis/x", name=name)
        made.append(KeptConnection(ref, Reach(**parts)))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ping() -> Callable[[KeptConnection], Awaitable[RedisConnection]]:
    """Return a function that reads once, as a reader does."""
    return read_once


async def read_once(kept: KeptConnection) -> RedisConnection:
    """Read once, as the reader does; a fault ends the connection."""
    connection = await kept.get()
    try:
        assert await connection.ask([("PING",)]) == [b"PONG"]
    except BaseException:
        kept.drop()
        raise
    return connection
