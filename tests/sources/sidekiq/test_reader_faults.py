import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from scaler.clients.http.addresses import Addresses
from scaler.clients.redis.server import RedisServer
from scaler.core.domain import Fault
from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.resp import RespServer, Script, array
from scaler.demo.valkey import Valkey
from scaler.sources.access import Access, AccessRule
from scaler.sources.backends import Backends
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.fleet import Processes
from scaler.sources.sidekiq.places import QueueDepth
from scaler.sources.sidekiq.process_set import ProcessSet
from scaler.sources.sidekiq.state import Depth

Trigger = Callable[..., SidekiqTrigger]


async def test_named_connection(valkey: Valkey, redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.lpush("queue:default", "{}")
    configured = {"main": RedisServer(url=SecretStr(valkey.url))}
    guard = Addresses(allow_loopback=False)
    readings = await asking(Backends(redis=configured, addresses=guard)).readings(trigger(redis="main"))
    assert readings.of(QueueDepth).waiting == 1
    with pytest.raises(Refused, match="no connection named other; it has: main"):
        await asking(Backends(redis=configured)).readings(trigger(redis="other"))
    rules = Access([AccessRule(namespaces=("*",), redis=("o*",))])
    with pytest.raises(Refused, match=r"no connection named other; see `redis` there$"):
        await asking(Backends(redis=configured, access=rules)).readings(trigger(redis="other"))


async def test_url_of_a_trigger_passes_the_guard(asking: Any, trigger: Trigger) -> None:
    with pytest.raises(Refused, match=r"127\.0\.0\.1 is refused"):
        await asking(Backends(addresses=Addresses(allow_loopback=False))).readings(trigger())


async def test_place_of_a_wrong_type_fails_alone(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.set("queue:mail", "a string")
    await redis.lpush("queue:default", "{}")
    found = await asking().outcomes(trigger(queues="default,mail"))
    assert found.of(QueueDepth, "default") == Depth(1, paused=False)
    refused = found.of(QueueDepth, "mail")
    assert isinstance(refused, Refused)
    assert "LLEN queue:mail" in str(refused)
    assert isinstance(found.of(ProcessSet), Processes)


async def test_set_of_a_wrong_type_fails_what_needs_it(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.set("processes", "a string")
    found = await asking().outcomes(trigger())
    assert isinstance(found.of(ProcessSet), Refused)
    assert found.of(QueueDepth) == Depth(0, paused=False)


async def test_restart_is_a_fault_before_it_is_an_empty_redis(asking: Any, trigger: Trigger) -> None:
    with Valkey() as valkey:
        client = valkey.client()
        await client.lpush("queue:default", "{}")
        await client.aclose()
        one, mine = asking(), trigger(redisURL=valkey.url)
        assert (await one.readings(mine)).of(QueueDepth).waiting == 1
        valkey.stop()
        valkey.start()
        found = await one.outcomes(mine)
        assert all(isinstance(outcome, Unavailable) for outcome in found.values())
        assert (await one.readings(mine)).of(QueueDepth).waiting == 0


async def test_redis_that_is_down_is_unavailable(asking: Any, trigger: Trigger) -> None:
    with Valkey() as valkey:
        mine = trigger(redisURL=valkey.url)
    found = await asking().outcomes(mine)
    assert {type(outcome) for outcome in found.values()} == {Unavailable}


QUESTIONS = [b"TIME", b"SMEMBERS", b"LLEN", b"LINDEX", b"HMGET", b"HGETALL", b"PTTL", b"ZRANGEBYSCORE"]
STRANGE = [
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-NOAUTH Authentication required.\r\n",
    b"-NOPERM No permissions\r\n",
    b"-OOM command not allowed\r\n",
    b"-MISCONF Redis is configured to save RDB snapshots\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-MOVED 1 10.0.0.1:6379\r\n",
    b"-ERR unknown command\r\n",
    b"+OK\r\n",
    b":-1\r\n",
    b"*1\r\n:5\r\n",
    b"*1\r\n*0\r\n",
    b"garbage\r\n",
]


@pytest.mark.parametrize("question", QUESTIONS, ids=bytes.decode)
@pytest.mark.parametrize("answer", STRANGE, ids=lambda answer: answer.split(b" ")[0].strip().decode())
async def test_no_answer_to_any_command_makes_it_inactive(
    question: bytes, answer: bytes, asking: Any, trigger: Trigger, sane: Script
) -> None:
    async with RespServer(lambda command: answer if command[0] == question else sane(command)) as fake:
        one = asking()
        mine = trigger(redisURL=f"redis://127.0.0.1:{fake.port}", capsule="default", queueLatency="5")
        found = await one.outcomes(mine)
        faults = [outcome for outcome in found.values() if isinstance(outcome, Fault)]
        if faults:
            assert all(str(fault) for fault in faults)
        else:
            assert question in {b"PTTL", b"LINDEX"}  # whose numbers and texts may be anything
            assert mine.assess(found, 1_795_345_098).active
        fake.answer = sane
        if any(str(fault).startswith("redis/") for fault in faults):
            await one.outcomes(mine)  # a connection that broke is made again
        assert mine.assess(await one.readings(mine), 1_795_345_098).active
        await one.reader.close()


async def test_redis_that_stops_answering_is_unavailable_in_time(
    monkeypatch: pytest.MonkeyPatch, asking: Any, trigger: Trigger, sane: Script
) -> None:
    hung: list[bytes] = []

    def hang(command: list[bytes]) -> bytes | None:
        if command[0] == b"HMGET":
            hung.append(command[0])
        return None if hung else sane(command)

    async with RespServer(hang) as fake:
        one = asking()
        mine = trigger(redisURL=f"redis://:canary@127.0.0.1:{fake.port}")
        async with asyncio.timeout(one.reader.timeout_seconds):
            found = await one.outcomes(mine)
        assert found.of(QueueDepth) == Depth(1, paused=False)
        assert isinstance(found.of(ProcessSet), Unavailable)
        assert "no answer within 2 s" in str(found.of(ProcessSet))
        assert "canary" not in str(found.of(ProcessSet))
        await one.reader.close()


async def test_read_that_is_given_up_leaves_no_answer_for_the_next(asking: Any, trigger: Trigger, sane: Script) -> None:
    hung: list[bytes] = []

    def hang(command: list[bytes]) -> bytes | None:
        if command[0] == b"LLEN":
            hung.append(command[0])
        return None if hung else sane(command)

    async with RespServer(hang) as fake:
        one = asking()
        mine = trigger(redisURL=f"redis://127.0.0.1:{fake.port}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await one.outcomes(mine)
        fake.answer = sane
        assert (await one.readings(mine)).of(QueueDepth) == Depth(1, paused=False)
        await one.reader.close()


async def test_processes_that_take_too_much_memory_are_a_fault_that_says_so(
    monkeypatch: pytest.MonkeyPatch, asking: Any, trigger: Trigger, sane: Script
) -> None:
    monkeypatch.setattr("scaler.sources.sidekiq.process_set.MAX_KEPT_BYTES", 1_500)
    many = array(b"a:1:a", b"b:1:b", b"c:1:c", b"d:1:d")
    async with RespServer(
        lambda command: many if command[:2] == [b"SMEMBERS", b"processes"] else sane(command)
    ) as fake:
        one = asking()
        found = await one.outcomes(trigger(redisURL=f"redis://127.0.0.1:{fake.port}"))
        assert "2 processes and the names of their queues take more than" in str(found.of(ProcessSet))
        assert found.of(QueueDepth) == Depth(1, paused=False)
        await one.reader.close()


@pytest.mark.parametrize(("jump", "changed"), [(4, False), (90, True), (-90, True)])
async def test_clock_of_redis_that_jumps_is_a_change(
    asking: Any, trigger: Trigger, sane: Script, jump: int, *, changed: bool
) -> None:
    """Heartbeats live for 60 s: those of all processes are gone at once, and whatever works looks idle until the next."""
    clock, ahead = ManualClock(), 0

    def say(command: list[bytes]) -> bytes:
        return array(b"%d" % (clock.wall() + ahead), b"0") if command == [b"TIME"] else sane(command)

    async with RespServer(say) as server:
        one, mine = asking(Backends(clock=clock)), trigger(redisURL=f"redis://127.0.0.1:{server.port}")
        assert set((await one.readings(mine)).changes.values()) == {-math.inf}
        await clock.advance(5)
        ahead = jump
        at = clock.now() if changed else -math.inf
        assert set((await one.readings(mine)).changes.values()) == {at}
        await clock.advance(5)
        assert set((await one.readings(mine)).changes.values()) == {at}


async def test_master_that_sentinels_name_passes_the_access_rules(asking: Any, trigger: Trigger, sane: Script) -> None:
    """The Sentinels may be the tenant's own, and name any host."""

    def name(command: list[bytes]) -> bytes:
        return array(b"127.0.0.1", b"%d" % master.port) if command[0] == b"SENTINEL" else b"+OK\r\n"

    async with RespServer(sane) as master, RespServer(name) as sentinel:
        mine = trigger(redisURL=f"redis+sentinel://127.0.0.1:{sentinel.port}/shop")
        rule = AccessRule(namespaces=("shop",), urls=("redis+sentinel://*",))
        one = asking(Backends(access=Access([rule])))
        found = await one.outcomes(mine)
        for outcome in found.values():
            assert isinstance(outcome, Refused)
            assert f"namespace shop may not read url redis://127.0.0.1:{master.port}/0" in str(outcome)
            assert "access[].urls" in str(outcome)
        assert not master.commands
        rule = AccessRule(namespaces=("shop",), urls=("redis*://127.0.0.1:*",))
        assert (await asking(Backends(access=Access([rule]))).readings(mine)).of(QueueDepth) == Depth(1, paused=False)
