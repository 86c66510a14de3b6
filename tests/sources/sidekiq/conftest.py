import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from scaler.core.domain import Fault, Place
from scaler.demo.clock import ManualClock
from scaler.demo.reported import Reported
from scaler.demo.resp import MASTER, Script, array
from scaler.demo.valkey import Valkey
from scaler.sources.backends import Backends
from scaler.sources.base import NAMESPACE
from scaler.sources.redis_places import RedisClock
from scaler.sources.sidekiq import SidekiqReader, SidekiqTrigger

DUMPS = Path(__file__).parent / "dumps"
NOW = 1_795_345_098.5
HERE = RedisClock(0.0)
IDENTITY = b"web-1:7:0123456789ab"
INFO = {"hostname": "web-1", "tag": "shop", "labels": ["a"], "queues": ["critical", "default"], "concurrency": 5}


@pytest.fixture
def trigger(valkey: Valkey) -> Callable[..., SidekiqTrigger]:
    """Return a function that makes a trigger, by default on the server of `valkey` and its queue `default`."""

    def make(**metadata: str) -> SidekiqTrigger:
        where = {} if "redis" in metadata else {"redisURL": valkey.url}
        fields = {"source": "sidekiq", "queues": "default", **where, **metadata}
        return SidekiqTrigger.model_validate({**fields, NAMESPACE: "shop"})

    return make


class Outcomes(Reported):
    """What was reported for each place."""

    def of(self, kind: type[Place], queue: str | None = None) -> Any:
        """Return what was reported for the first place of a kind, and of a queue if it is named."""
        return next(
            outcome
            for place, outcome in self.items()
            if isinstance(place, kind) and queue in {None, getattr(place, "queue", None)}
        )


class Asking:
    """Reads what triggers need with one reader, as the store does."""

    def __init__(self, backends: Backends) -> None:
        self.reader = backends.hand(SidekiqReader)

    async def outcomes(self, *triggers: SidekiqTrigger) -> Outcomes:
        """Return what is reported for each place of `triggers`, all read together; each is reported once."""
        reported = Outcomes()
        places = list(dict.fromkeys(place for trigger in triggers for place in trigger.places()))
        await self.reader.read(places, reported)
        assert set(reported) == set(places)
        return reported

    async def readings(self, *triggers: SidekiqTrigger) -> Outcomes:
        """Return what was found; raises the first fault."""
        found = await self.outcomes(*triggers)
        for outcome in found.values():
            if isinstance(outcome, Fault):
                raise outcome
        return found


@pytest.fixture
async def asking() -> AsyncIterator[Callable[..., Asking]]:
    """Return a function that makes a reader, by default without any configuration; it is closed at the end."""
    made: list[Asking] = []

    def make(backends: Backends | None = None) -> Asking:
        made.append(Asking(backends or Backends()))
        return made[-1]

    yield make
    for one in made:
        await one.reader.close()


@pytest.fixture
def restore(redis: Redis) -> Callable[[str], Awaitable[dict[str, Any]]]:
    """Return a function that writes a dump of a real Sidekiq key by key, with what is left of each time to live."""

    async def restored(name: str) -> dict[str, Any]:
        dump: dict[str, Any] = json.loads((DUMPS / name).read_text())
        for key, entry in dump["keys"].items():
            value: Any = entry["value"]
            match entry["type"]:
                case "set":
                    await redis.sadd(key, *value)
                case "hash":
                    await redis.hset(key, mapping=value)
                case "list":
                    await redis.rpush(key, *value)
                case "zset":
                    await redis.zadd(key, dict(value))
                case "string":
                    await redis.set(key, value)
            if entry["pttl"] > 0:
                await redis.pexpire(key, entry["pttl"])
        return dump

    return restored


SANE = {
    b"TIME": array(b"1795345098", b"0"),
    b"ROLE": MASTER,
    b"LLEN": b":1\r\n",
    b"LINDEX": b'$16\r\n{"created_at":1}\r\n',
    b"HMGET": array(b'{"queues":["default"],"concurrency":5}', b"1", b"1795345098", b"false", b"5"),
    b"HGETALL": array(),
    b"PTTL": b":60000\r\n",
    b"ZRANGEBYSCORE": array(b'{"queue":"default"}', b"1"),
}


def answer_sanely(command: list[bytes]) -> bytes:
    """Answer as a Redis with one busy process and one waiting job."""
    if command[0] == b"SMEMBERS":
        return array(b"a:1:0a") if command[1] == b"processes" else array()
    return SANE.get(command[0], b"+OK\r\n")


@pytest.fixture
def sane() -> Script:
    """Return what a `RespServer` answers that holds one busy process and one waiting job."""
    return answer_sanely


class Heard:
    """Collects hints, as the store would take them."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.hints: asyncio.Queue[Place] = asyncio.Queue()

    async def next(self, count: int) -> set[str]:
        """Return the names of the next `count` places, waiting for them."""
        async with asyncio.timeout(5):
            return {str(await self.hints.get()).partition(" of ")[0] for _ in range(count)}

    async def all_of(self, trigger: SidekiqTrigger) -> None:
        """Wait for the hint about everything that comes with each connection."""
        async with asyncio.timeout(5):
            assert {await self.hints.get() for _ in trigger.places()} == set(trigger.places())


@pytest.fixture
def heard() -> Heard:
    return Heard(ManualClock())
