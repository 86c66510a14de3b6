"""Queues that Sidekiq knows, their surroundings, and the private queues of super_fetch, on a real Valkey."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaler.core.errors import Unavailable
from scaler.demo.resp import RespServer, Script, array
from scaler.demo.valkey import Valkey
from scaler.sources.backends import Backends
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.known_queues import Elsewhere, Known, KnownQueues, NearQueue
from scaler.sources.sidekiq.places import QueueDepth
from scaler.sources.sidekiq.private_queues import MAX_STEPS, Orphans, PrivateQueues


async def judged(asking: Any, trigger: SidekiqTrigger) -> Any:
    """Return what is said of `trigger` once all that it names was read."""
    one = asking()
    readings = await one.readings(trigger)
    found = trigger.further_places(readings)
    if found:
        await one.reader.read(found, readings)
    return trigger.assess(readings, time.time())


# Names


async def test_wrong_database_is_told_with_those_that_have_keys(
    valkey: Valkey, redis: Redis, asking: Any, trigger: Any
) -> None:
    await redis.lpush("queue:default", "{}")
    await redis.sadd("queues", "default")
    wrong = trigger(redisURL=valkey.url.removesuffix("/0") + "/5")
    told = await judged(asking, wrong)
    assert not told.active
    assert "no Sidekiq has ever used this database" in told.doubts[0]
    assert "databases with keys are 0" in told.doubts[0]
    right = await judged(asking, trigger())
    assert right.active
    assert right.doubts == ()


@pytest.mark.parametrize(
    ("there", "asked", "said", "followed"),
    [
        ("shop:", "", "there are queues under keyPrefix shop", "shop"),
        ("", "shop", "there are queues without a namespace (leave keyPrefix out)", ""),
        ("shop:", "web", "there are queues under keyPrefix shop", "shop"),
    ],
)
async def test_wrong_namespace_is_told_with_those_that_there_are(  # noqa: PLR0917 - fixtures and columns
    redis: Redis, asking: Any, trigger: Any, there: str, asked: str, said: str, followed: str
) -> None:
    await redis.lpush(f"{there}queue:default", "{}")
    await redis.sadd(f"{there}queues", "default")
    told = await judged(asking, trigger(keyPrefix=asked))
    assert not told.active
    assert said in told.doubts[0]
    told = await judged(asking, trigger(keyPrefix=followed))
    assert told.active
    assert told.doubts == ()


async def test_queue_of_bull_is_told(redis: Redis, asking: Any, trigger: Any) -> None:
    await redis.sadd("queues", "mail")
    await redis.lpush("bull:default:wait", "1", "2", "3")
    await redis.lpush("mail", "no queue of Sidekiq")
    told = await judged(asking, trigger())
    assert "3 jobs wait in default of Bull" in told.doubts[0]
    assert "there are mail" in told.doubts[0]


async def test_surroundings_that_may_not_be_read_are_a_hint_less(
    valkey: Valkey, redis: Redis, asking: Any, trigger: Any
) -> None:
    admin: Any = redis
    rules = "resetchannels -@all %R~processes %R~queues %R~paused %R~queue:* %R~schedule %R~retry +time +smembers +llen"
    await admin.execute_command("ACL", "SETUSER", "few", "reset", "on", ">word", *rules.split(), "+zrangebyscore")
    few = trigger(redisURL=f"redis://few:word@127.0.0.1:{valkey.port}/0")
    one = asking()
    readings = await one.readings(few)
    (near,) = few.further_places(readings)
    await one.reader.read([near], readings)
    assert readings[near] == Elsewhere()
    assert few.assess(readings, time.time()).doubts
    await admin.execute_command("ACL", "SETUSER", "few", "resetkeys", "%R~processes", "%R~paused", "%R~queue:*")
    await admin.execute_command("ACL", "SETUSER", "few", "%R~schedule", "%R~retry")
    readings = await asking().readings(few)
    assert readings.of(KnownQueues) == Known(None)
    told = few.assess(readings, time.time())
    assert told.doubts == ()
    await admin.execute_command("ACL", "DELUSER", "few")


async def test_keys_that_redis_throws_out_are_noticed(asking: Any, trigger: Any) -> None:
    with Valkey() as full:
        one, mine = asking(), trigger(redisURL=full.url)
        async with full.client() as client:
            await client.sadd("queues", "default")
            await client.config_set("maxmemory-policy", "allkeys-random")
            assert (await one.readings(mine)).of(KnownQueues) == Known(frozenset({"default"}))
            await client.config_set("maxmemory", 1)
            with pytest.raises(RedisError):
                await client.set("one", "more")
            await client.config_set("maxmemory", 0)
        known = (await one.readings(mine)).of(KnownQueues)
        assert (known.evicted > 0, known.policy) == (True, "allkeys-random")
        async with full.client() as client:
            await client.config_set("maxmemory-policy", "noeviction")
        assert (await one.readings(mine)).of(KnownQueues).evicted == 0


async def test_too_many_names_are_not_compared(redis: Redis, asking: Any, trigger: Any) -> None:
    await redis.sadd("queues", *(f"tenant-{number}" for number in range(20_001)))
    readings = await asking().readings(trigger())
    assert readings.of(KnownQueues) == Known(None)
    assert trigger().assess(readings, time.time()).doubts == ()


async def test_known_queue_needs_no_look_around(redis: Redis, asking: Any, trigger: Any) -> None:
    await redis.sadd("queues", "default")
    readings = await asking().readings(trigger(queues="default,other"))
    assert [place.queue for place in trigger(queues="default,other").further_places(readings)] == ["other"]
    assert all(
        isinstance(place, NearQueue)
        for place in trigger(queues="a,b").further_places(await asking().readings(trigger(queues="a,b")))
    )


# super_fetch

GONE, ALIVE = "web-1:7:0123456789ab", "web-2:7:ba9876543210"


@pytest.fixture
async def killed(redis: Redis) -> AsyncIterator[Redis]:
    """A Redis of Sidekiq Pro after one of two processes was killed at work."""
    info = json.dumps({"queues": ["default"], "concurrency": 5})
    await redis.hset(ALIVE, mapping={"info": info, "busy": 0, "beat": time.time(), "quiet": "false"})
    await redis.expire(ALIVE, 60)
    await redis.sadd("processes", ALIVE, GONE)
    await redis.sadd("queues", "default", "mail")
    await redis.lpush(f"queue:sq|{GONE}|default", "{}", "{}")
    await redis.lpush(f"queue:sq|{GONE}|mail", "{}")
    await redis.lpush(f"queue:sq|{ALIVE}|default", "{}", "{}", "{}")
    return redis


async def test_jobs_of_processes_that_are_gone_wait(killed: Redis, asking: Any, trigger: Any) -> None:
    mine = trigger(superFetch="true", queueLength="10")
    readings = await asking().readings(mine)
    assert readings.of(PrivateQueues) == Orphans((("default", 2), ("mail", 1)))
    told = mine.assess(readings, time.time())
    assert told.active
    assert told.reasons[0].startswith("2 waiting jobs")
    assert told.metrics[1].value == 2
    values = {component.name: component.value for component in told.components}
    assert (values["waiting in default"], values["left behind of default"]) == (0, 2)
    assert not trigger().assess(await asking().readings(trigger()), time.time()).active
    await killed.delete(f"queue:sq|{GONE}|default")
    assert not mine.assess(await asking().readings(mine), time.time()).active


async def test_jobs_of_a_process_that_works_do_not_wait(killed: Redis, asking: Any, trigger: Any) -> None:
    mine = trigger(superFetch="true")
    await killed.delete(f"queue:sq|{GONE}|default")
    assert not mine.assess(await asking().readings(mine), time.time()).active
    await killed.delete(ALIVE)
    assert mine.assess(await asking().readings(mine), time.time()).reasons[0].startswith("3 waiting jobs")


async def test_paused_queue_is_not_waited_for(killed: Redis, asking: Any, trigger: Any) -> None:
    await killed.sadd("paused", "default")
    mine = trigger(superFetch="true")
    told = mine.assess(await asking().readings(mine), time.time())
    assert not told.active
    assert "2 in paused queues do not count" in told.reasons[0]


@pytest.mark.parametrize("prefix", ["shop:", "a*b?[x]:", "back\\slash:"])
async def test_namespaces_are_looked_through_apart(redis: Redis, asking: Any, trigger: Any, prefix: str) -> None:
    await redis.lpush(f"{prefix}queue:sq|{GONE}|default", "{}")
    await redis.lpush(f"queue:sq|{GONE}|default", "{}", "{}")
    await redis.lpush("axb-x:queue:sq|{GONE}|default", "{}")
    mine, bare = trigger(superFetch="true", keyPrefix=prefix), trigger(superFetch="true")
    readings = await asking().readings(mine, bare)
    assert readings[mine.plan.private].of("default") == 1
    assert readings[bare.plan.private].of("default") == 2


async def test_what_only_looks_like_a_private_queue_is_left(redis: Redis, asking: Any, trigger: Any) -> None:
    await redis.set(f"queue:sq|{GONE}|default", "a string")
    await redis.lpush("queue:sq|", "{}")
    await redis.lpush("queue:sq|nobody", "{}")
    await redis.lpush(f"queue:sq|{GONE}|a|b", "{}")
    assert (await asking().readings(trigger(superFetch="true"))).of(PrivateQueues) == Orphans((("a|b", 1),))


async def test_many_keys_are_looked_through_in_steps(redis: Redis, asking: Any, trigger: Any) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(30_000):
            pipe.set(f"cache:{number}", "")
        for number in range(300):
            pipe.lpush(f"queue:sq|web:{number}:0a|default", "{}")
        await pipe.execute()
    asked: list[str] = []
    one = asking(Backends(count_requests=lambda _, operation, __: asked.append(operation)))
    assert (await one.readings(trigger(superFetch="true"))).of(PrivateQueues).of("default") == 300
    assert 10 < asked.count("pipeline") < 60


async def test_keys_without_an_end_are_a_fault_that_says_so(asking: Any, trigger: Any, sane: Script) -> None:
    def endless(command: list[bytes]) -> bytes:
        return b"*2\r\n$1\r\n7\r\n*0\r\n" if command[0] == b"SCAN" else sane(command)

    async with RespServer(endless) as fake:
        one = asking()
        found = await one.outcomes(trigger(redisURL=f"redis://127.0.0.1:{fake.port}", superFetch="true"))
        told = found.of(PrivateQueues)
        assert isinstance(told, Unavailable)
        assert f"no end of the keys after {MAX_STEPS} steps of SCAN" in str(told)
        assert found.of(QueueDepth).waiting == 1
        await one.reader.close()


@pytest.mark.parametrize(
    "answer", [b":1\r\n", b"*0\r\n", array(b"0"), b"*2\r\n:0\r\n*0\r\n", b"*2\r\n$1\r\n0\r\n:5\r\n"]
)
async def test_strange_answer_to_scan_is_a_fault(asking: Any, trigger: Any, sane: Script, answer: bytes) -> None:
    async with RespServer(lambda command: answer if command[0] == b"SCAN" else sane(command)) as fake:
        one = asking()
        found = await one.outcomes(trigger(redisURL=f"redis://127.0.0.1:{fake.port}", superFetch="true"))
        assert isinstance(found.of(PrivateQueues), Unavailable)
        await one.reader.close()


async def test_others_are_read_during_a_long_search(asking: Any, trigger: Any, sane: Script) -> None:
    """A search of many round trips does not keep a queue waiting that is asked for meanwhile."""

    steps = 0
    began, go_on = asyncio.Event(), asyncio.Event()

    def slow(command: list[bytes]) -> bytes:
        nonlocal steps
        if command[0] == b"SCAN":
            steps += 1
            began.set()
            return b"*2\r\n$1\r\n7\r\n*0\r\n" if not go_on.is_set() and steps < 900 else b"*2\r\n$1\r\n0\r\n*0\r\n"
        return sane(command)

    async with RespServer(slow) as fake:
        one, url = asking(), f"redis://127.0.0.1:{fake.port}"
        search = asyncio.create_task(one.outcomes(trigger(redisURL=url, superFetch="true")))
        await began.wait()
        assert (await one.readings(trigger(redisURL=url))).of(QueueDepth).waiting == 1
        assert not search.done()
        go_on.set()
        assert (await search).of(PrivateQueues) == Orphans()
        await one.reader.close()
