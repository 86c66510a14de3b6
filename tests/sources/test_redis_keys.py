"""The keys, places and reader that every source on a Redis shares, used by one that is not Sidekiq."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from scaler.clients.redis.faults import Command
from scaler.clients.redis.server import RedisRef, RedisServer
from scaler.core.budget import Budget
from scaler.core.domain import Assessment, Fault, Metric, MetricSpec, Place, Readings
from scaler.core.errors import MetadataError, NotAllowedError, Refused, Unavailable
from scaler.demo.reported import Reported
from scaler.demo.resp import MASTER, RespServer, array
from scaler.demo.valkey import Valkey
from scaler.sources import triggers
from scaler.sources.access import Access, AccessRule
from scaler.sources.backends import Backends
from scaler.sources.base import NAMESPACE, Claim, Source
from scaler.sources.redis_keys import RedisKeys
from scaler.sources.redis_places import Answers, RedisClock, RedisPlace
from scaler.sources.redis_reader import RedisReader


@dataclass(frozen=True, slots=True)
class CeleryQueue(RedisPlace):
    kind: ClassVar[str] = "celery"

    key: str

    def __str__(self) -> str:
        return f"list {self.key} of {self.redis}"

    def watched(self) -> Iterable[str]:
        return (self.key,)

    def first(self) -> Iterable[Command]:
        yield ("LLEN", self.key)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> int:
        del now, clock
        return int(answers["LLEN", self.key])


@dataclass(frozen=True, slots=True)
class CeleryMembers(RedisPlace):
    """A set that is read in pages."""

    kind: ClassVar[str] = "celery"

    page: int = 100

    def first(self) -> Iterable[Command]:
        yield self._scan(b"0")

    def second(self, answers: Answers, now: float) -> Iterable[Command]:
        answers.kept[self] = [b"0", 0]
        return self.more(answers, now)

    def more(self, answers: Answers, now: float) -> Iterable[Command]:
        del now
        kept = answers.kept[self]
        kept[0], found = answers[self._scan(kept[0])]
        kept[1] += len(found)
        return () if kept[0] == b"0" else (self._scan(kept[0]),)

    def value(self, answers: Answers, now: float, clock: RedisClock) -> int:
        del now, clock
        return int(answers.kept[self][1])

    def _scan(self, cursor: bytes) -> Command:
        return ("SSCAN", "members", cursor, "COUNT", self.page)


class CeleryTrigger(RedisKeys):
    """Scales on the length of a list."""

    key: str = "celery"

    def specs(self) -> tuple[MetricSpec, ...]:
        return (MetricSpec("celery", 5),)

    def places(self) -> tuple[Place, ...]:
        return (CeleryQueue(self.redis_ref(), self.key),)

    def claims(self) -> tuple[Claim, ...]:
        return self.redis_claims()

    def assess(self, readings: Readings, now: float) -> Assessment:
        del now
        (waiting,) = readings.values()
        return Assessment((Metric("celery", waiting),), waiting > 0, (f"{waiting} tasks",))


class CeleryReader(RedisReader):
    kinds: ClassVar[frozenset[str]] = frozenset({"celery"})
    rights: ClassVar[str] = "docs/celery.md"

    def tracked(self, place: Any) -> tuple[str, ...]:
        del place
        return ("celery",)


def trigger(**metadata: str) -> CeleryTrigger:
    return CeleryTrigger.model_validate({"source": "celery", **metadata, NAMESPACE: "shop"})


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as started:
        yield started


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client = valkey.client()
    await client.flushall()
    yield client
    await client.aclose()


async def read(places: Iterable[Place], backends: Backends | None = None) -> Reported:
    reader = (backends or Backends()).hand(CeleryReader)
    reported = Reported()
    try:
        await reader.read(list(places), reported)
    finally:
        await reader.close()
    return reported


# The keys


def test_redis_is_named_or_given_by_its_url() -> None:
    named, given = trigger(redis="main"), trigger(redisURL="redis://u:canary@cache:6380/2")
    assert named.redis_ref() == RedisRef("redis/main", name="main")
    assert named.claims() == (Claim("redis", "main"),)
    assert given.redis_ref() == RedisRef("redis/cache:6380", url=SecretStr("redis://u:canary@cache:6380/2"))
    assert given.claims() == (Claim("url", "redis://cache:6380/2"),)


def test_sentinels_are_read_for_each_namespace_by_itself() -> None:
    """What they name is judged by its rules."""
    url = "redis+sentinel://a,b:1/shop"
    mine = trigger(redisURL=url)
    other = CeleryTrigger.model_validate({"source": "celery", "redisURL": url, NAMESPACE: "bank"})
    assert mine.redis_ref().namespace == "shop"
    assert mine.places() != other.places()
    assert mine.claims() == (
        Claim("url", "redis+sentinel://a:26379/shop/0"),
        Claim("url", "redis+sentinel://b:1/shop/0"),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "redis://:canary@cache",
        "rediss://u:canary@cache:6379/0",
        ":canary@cache",
        "canary/0",
        "canary word",
        "canary\nword",
        "cänary",
        "-canary",
        "canary" * 20,
    ],
)
def test_what_is_no_name_is_not_quoted(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setitem(triggers.SOURCES, "celery", Source("celery", CeleryTrigger, ()))
    with pytest.raises(MetadataError, match=r"^redis: .*redisURLFromEnv") as told:
        triggers.parse({"source": "celery", "redis": wrong}, "shop")
    assert "canary" not in str(told.value)


# A second source


async def test_second_source_reads_with_proof(valkey: Valkey, redis: Redis) -> None:
    await redis.rpush("celery", "a", "b")
    mine = trigger(redisURL=valkey.url)
    found = await read(mine.places())
    assert mine.assess(found, 0).metrics[0].value == 2
    (proof,) = found.proofs.values()
    assert "whole: an answer to each of 2 commands; from: 127.0.0.1" in proof
    assert "says that it is the master" in proof


async def test_no_fault_of_a_second_source_speaks_of_sidekiq(valkey: Valkey, redis: Redis) -> None:
    admin: Any = redis
    await redis.set("text", 1)
    await admin.execute_command("ACL", "SETUSER", "celery", "on", ">canary", "~*", "+time")
    answers = [b"-MOVED 1 a:1\r\n", b"-ERR x\r\n", b"*5\r\n", b"x\r\n", b":1\r\n"]
    told = [
        *(await read([*trigger(redisURL=valkey.url, key="text").places(), *trigger(redis="gone").places()])).values()
    ]
    told += (await read(trigger(redisURL=valkey.url.replace("//", "//celery:canary@")).places())).values()
    for answer in answers[:-1]:
        script = {b"LLEN": answer, b"TIME": array(b"1", b"1"), b"ROLE": MASTER}
        async with RespServer(lambda command, script=script: script.get(command[0], b"+OK\r\n")) as fake:
            told += (await read(trigger(redisURL=f"redis://127.0.0.1:{fake.port}").places())).values()
    assert len(told) == 7
    assert all(isinstance(fault, Fault) for fault in told)
    assert "idekiq" not in " ".join(map(str, told))
    assert any("access rules of docs/celery.md" in str(fault) for fault in told)
    await admin.execute_command("ACL", "DELUSER", "celery")


async def test_large_set_is_read_in_pages(valkey: Valkey, redis: Redis) -> None:
    await redis.sadd("members", *range(2_500))
    ref = RedisRef("redis/x", url=SecretStr(valkey.url))
    asked: list[str] = []
    found = await read(
        [CeleryMembers(ref), CeleryQueue(ref, "celery")],
        Backends(count_requests=lambda _, operation, __: asked.append(operation)),
    )
    assert list(found.values()) == [0, 2_500]  # the other one does not wait for it
    assert asked.count("pipeline") > 20


async def test_read_gives_back_what_it_took_of_the_budget(valkey: Valkey, redis: Redis) -> None:
    await redis.sadd("members", *range(2_500))
    budget = Budget(40_000)
    ref = RedisRef("redis/x", url=SecretStr(valkey.url))
    found = await read([CeleryMembers(ref, page=100)], Backends(budget=budget))
    assert list(found.values()) == [2_500]
    assert budget.total == 0
    found = await read([CeleryMembers(ref, page=2_500)], Backends(budget=budget))
    (fault,) = found.values()
    assert isinstance(fault, Unavailable)
    assert "share of 40000 bytes under way" in str(fault)
    assert budget.total == 0


async def test_rules_hold_for_what_sentinels_name(valkey: Valkey) -> None:
    def answer(command: list[bytes]) -> bytes:
        return array(b"127.0.0.1", str(valkey.port).encode()) if command[0] == b"SENTINEL" else b"+OK\r\n"

    async with RespServer(answer) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/shop/0"
        own, both = (
            Access([AccessRule(namespaces=("shop",), urls=(url, *more))])
            for more in ((), (f"redis://127.0.0.1:{valkey.port}/0",))
        )
        for access in (own, both):
            access.check("shop", trigger(redisURL=url).claims())
        (fault,) = (await read(trigger(redisURL=url).places(), Backends(access=own))).values()
        assert isinstance(fault, Refused)
        assert f"namespace shop may not read url redis://127.0.0.1:{valkey.port}/0" in str(fault)
        with pytest.raises(NotAllowedError):
            own.check("shop", trigger(redisURL=valkey.url).claims())
        assert list((await read(trigger(redisURL=url).places(), Backends(access=both))).values()) == [0]
        # What the operator has written is not judged.
        configured = {"main": RedisServer(url=SecretStr(url))}
        found = await read(trigger(redis="main").places(), Backends(access=own, redis=configured))
        assert list(found.values()) == [0]


async def test_hints_follow_to_the_server_that_is_read() -> None:
    def redis(run_id: bytes) -> RespServer:
        info = b"run_id:%s\r\n" % run_id
        told = {
            b"ROLE": MASTER,
            b"TIME": array(b"1", b"1"),
            b"LLEN": b":1\r\n",
            b"INFO": b"$%d\r\n%s\r\n" % (len(info), info),
            b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n",
        }
        return RespServer(lambda command: told.get(command[0], b"+OK\r\n"))

    named = 0

    def sentinel_says(command: list[bytes]) -> bytes:
        return array(b"127.0.0.1", str(named).encode()) if command[0] == b"SENTINEL" else b"+OK\r\n"

    hinted: list[Place] = []

    async def until(server: RespServer, connections: int, hints: int) -> None:
        async with asyncio.timeout(5):
            while (server.connections, len(hinted)) != (connections, hints):  # noqa: ASYNC110 - nothing tells of either
                await asyncio.sleep(0.01)

    async with redis(b"1") as old, redis(b"2") as new, RespServer(sentinel_says) as sentinel:
        named = old.port
        reader = Backends().hand(CeleryReader)
        reader.listen(hinted.append)
        places = trigger(redisURL=f"redis+sentinel://127.0.0.1:{sentinel.port}/shop").places()
        await reader.read(places, Reported())
        await until(old, 2, hints=1)
        named = new.port
        await reader.read(places, Reported())
        await until(new, 2, hints=2)
        await until(old, 0, hints=2)
        assert hinted == list(places) * 2
        assert any(b"TRACKING" in command for command in new.commands)
        await reader.close()
