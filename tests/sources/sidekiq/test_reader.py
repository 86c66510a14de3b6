import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from scaler.clients.addresses import Addresses
from scaler.clients.backends import Backends
from scaler.clients.redis import RedisServer
from scaler.demo.clock import ManualClock
from scaler.demo.resp import RespServer, array
from scaler.demo.sidekiq import SidekiqClient
from scaler.demo.valkey import Valkey
from scaler.domain import Fault, Place
from scaler.errors import Refused, Unavailable
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.places import MAX_DUE, DueJobs, OldestJob, ProcessSet, QueueDepth
from scaler.sources.sidekiq.state import Depth, Processes

Trigger = Callable[..., SidekiqTrigger]
RUNNING = ["v6.4.1-02-running.json", "v7.3.10-02-running.json", "v8.1.7-02-running.json"]


def of(kind: type[Place], readings: dict[Place, Any], queue: str | None = None) -> Any:
    return next(
        value
        for place, value in readings.items()
        if isinstance(place, kind) and queue in {None, getattr(place, "queue", None)}
    )


async def heartbeat(redis: Redis, identity: str, *, ttl: float = 60, **fields: Any) -> None:
    info = {"queues": ["default"], "concurrency": 5, "tag": "", "labels": []}
    told = {"info": json.dumps(info), "busy": 0, "beat": time.time(), "quiet": "false", **fields}
    await redis.sadd("processes", identity)
    await redis.hset(identity, mapping=told)
    await redis.pexpire(identity, int(ttl * 1000))


# What real Sidekiqs have left


@pytest.mark.parametrize("name", RUNNING)
async def test_dump_of_a_running_process(
    name: str, restore: Callable[[str], Awaitable[dict[str, Any]]], asking: Any, trigger: Trigger
) -> None:
    dump = await restore(name)
    busy = trigger(queues="critical,default", tag="shop", queueLatency="5")
    stuck = trigger(queues="reports", queueLatency="5", queueLength="1")
    readings = await asking().readings(busy, stuck)
    (process,) = of(ProcessSet, readings).live
    assert (process.busy, process.concurrency, process.quiet, process.late) == (3, 5, False, False)
    assert process.hostname == "vm"
    assert process.info.queues == {"critical", "default"}

    now = time.time()
    told = busy.assess(readings, now)
    assert told.active
    assert told.metrics[0].value == pytest.approx(0.6)
    told = stuck.assess(readings, now)
    assert told.active
    assert told.metrics[0].value == 0.75
    assert told.metrics[1].value == 4
    oldest = json.loads(dump["keys"]["queue:reports"]["value"][-1])["enqueued_at"]
    seconds = oldest / 1000 if oldest > 1e11 else oldest
    assert told.metrics[2].value == pytest.approx(now - seconds, abs=1)


@pytest.mark.parametrize("name", RUNNING)
async def test_jobs_of_a_dump(
    name: str, restore: Callable[[str], Awaitable[dict[str, Any]]], asking: Any, trigger: Trigger
) -> None:
    await restore(name)
    (process,) = of(ProcessSet, await asking().readings(trigger(capsule="default"))).live
    if name.startswith("v6"):
        assert process.jobs == ()  # `:workers`: a process that old has no capsules
    else:
        assert process.jobs == (("critical", 1), ("default", 2))


async def test_dumps_of_all_versions_on_one_redis(
    restore: Callable[[str], Awaitable[dict[str, Any]]], asking: Any, trigger: Trigger
) -> None:
    """Sidekiq's own ProcessSet#total_concurrency, of any version, is wrong for these."""
    for name in RUNNING:
        await restore(name)
    told = trigger(metricType="Value", queues="critical").assess(await asking().readings(trigger(queues="critical")), 0)
    components = {component.name: component.value for component in told.components}
    assert (components["processes"], components["threads"], components["busy threads"]) == (3, 15, 9)


async def test_idle_dump_is_inactive(
    restore: Callable[[str], Awaitable[dict[str, Any]]], asking: Any, trigger: Trigger
) -> None:
    await restore("v8.1.7-01-idle.json")
    told = trigger().assess(await asking().readings(trigger()), time.time())
    assert not told.active
    assert told.metrics[0].value == 0


# What else can be there


async def test_only_members_with_a_live_heartbeat_are_processes(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await heartbeat(redis, "a:1:0a")
    await heartbeat(redis, "b:1:0b", ttl=20)
    await heartbeat(redis, "left:1:0c")
    await redis.srem("processes", "left:1:0c")
    await redis.sadd("processes", "ghost:1:0d", "stranger", "garbled:1:0e")
    await redis.set("stranger", "a string")
    await heartbeat(redis, "garbled:1:0e", info="{", busy=1)
    found: Processes = of(ProcessSet, await asking().readings(trigger()))
    assert [(process.hostname, process.late) for process in found.live] == [
        ("a", False),
        ("b", True),
        ("garbled", False),
    ]
    assert (found.ghosts, found.strangers) == (1, 1)


async def test_garbage_in_one_process_leaves_the_others_and_holds(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await heartbeat(redis, "a:1:0a", busy=2)
    await heartbeat(redis, "b:1:0b", info=b"\xff\x00" * 100, busy=1)
    readings = await asking().readings(trigger())
    told = trigger().assess(readings, time.time())
    assert told.metrics[0].value == pytest.approx(0.4)
    await redis.hset("a:1:0a", "busy", 0)
    told = trigger().assess(await asking().readings(trigger()), time.time())
    assert told.active
    assert told.metrics[0].value == 0


async def test_paused_queue(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.sadd("paused", "mail")
    for queue in ("default", "mail"):
        await redis.lpush(f"queue:{queue}", "{}")
    readings = await asking().readings(trigger(queues="default,mail"))
    assert of(QueueDepth, readings, "default") == Depth(1, paused=False)
    assert of(QueueDepth, readings, "mail") == Depth(1, paused=True)


async def test_oldest_job_is_the_one_that_is_taken_next(redis: Redis, asking: Any, trigger: Trigger) -> None:
    for since in (1_000, 2_000, 3_000):
        await redis.lpush("queue:default", json.dumps({"enqueued_at": since}))
    oldest = of(OldestJob, await asking().readings(trigger(queueLatency="1")))
    assert oldest.since == 1_000


async def test_due_jobs_within_the_lead_and_soon_after(redis: Redis, asking: Any, trigger: Trigger) -> None:
    now = time.time()
    job = '{"queue":"default","n":%d}'
    await redis.zadd("schedule", {job % 1: now - 5, job % 2: now + 20, job % 3: now + 3_600})
    await redis.zadd("retry", {job % 4: now + 60})
    await redis.zadd("dead", {job % 5: now})
    due = of(DueJobs, await asking().readings(trigger()))
    assert [round(at - now) for at in due.times["default"]] == [-5, 20, 60]


async def test_page_of_due_jobs_is_limited(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.zadd("schedule", {f'{{"queue":"other","n":{number}}}': number for number in range(MAX_DUE + 1)})
    await redis.zadd("schedule", {'{"queue":"default"}': MAX_DUE + 2})
    readings = await asking().readings(trigger())
    assert len(of(DueJobs, readings).times["other"]) == MAX_DUE
    assert trigger().assess(readings, time.time()).active  # nobody moves them, so a process is wanted


async def test_namespace_of_old_sidekiqs(redis: Redis, asking: Any, trigger: Trigger) -> None:
    client = SidekiqClient(redis, ManualClock(), prefix="shop:")
    await client.push("default", 1)
    await client.push("default", 1, at=1.0)
    readings = await asking().readings(trigger(keyPrefix="shop"), trigger())
    mine = {type(place): value for place, value in readings.items() if place.prefix == "shop:"}
    others = {type(place): value for place, value in readings.items() if not place.prefix}
    assert (mine[QueueDepth].waiting, others[QueueDepth].waiting) == (1, 0)
    assert (set(mine[DueJobs].times), set(others[DueJobs].times)) == ({"default"}, set())


async def test_equal_state_is_an_equal_reading_however_time_passes(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await heartbeat(redis, "a:1:0a", busy=2)
    await SidekiqClient(redis, ManualClock()).push("default", 1)
    await SidekiqClient(redis, ManualClock()).push("default", 1, at=time.time() + 3_600)
    one = asking()
    before = await one.readings(trigger(queueLatency="1"))
    await heartbeat(redis, "a:1:0a", busy=2, ttl=40)
    assert await one.readings(trigger(queueLatency="1")) == before
    await heartbeat(redis, "a:1:0a", busy=3)
    assert await one.readings(trigger(queueLatency="1")) != before


async def test_clock_of_redis_is_used_and_followed(redis: Redis, asking: Any, trigger: Trigger) -> None:
    clock = ManualClock(wall=1_000_000.0)
    await redis.zadd("schedule", {'{"queue":"default"}': time.time() + 25})
    one = asking(Backends(clock=clock))
    readings = await one.readings(trigger())
    assert trigger().assess(readings, clock.wall()).active
    assert (
        not trigger(scheduleLeadSeconds="20")
        .assess(await one.readings(trigger(scheduleLeadSeconds="20")), clock.wall())
        .active
    )
    await clock.advance(3_600)  # the clock of this machine is put forward
    readings = await one.readings(trigger())
    assert trigger().assess(readings, clock.wall()).active


# One read


async def test_500_triggers_take_two_round_trips_and_one_connection(
    redis: Redis, asking: Any, trigger: Trigger
) -> None:
    queues = [f"queue-{number}" for number in range(50)]
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(200):
            host = f"shop-{number % 10}-6d4cf56db6-{number:05d}"
            info = {"queues": [queues[number % 50], queues[number * 7 % 50]], "concurrency": 10, "tag": "shop"}
            fields = {"info": json.dumps(info), "busy": number % 11, "beat": time.time(), "quiet": "false"}
            pipe.sadd("processes", f"{host}:1:0a")
            pipe.hset(f"{host}:1:0a", mapping=fields)
            pipe.expire(f"{host}:1:0a", 60)
        for queue in queues:
            pipe.lpush(f"queue:{queue}", json.dumps({"enqueued_at": time.time()}))
        await pipe.execute()
    triggers = [
        trigger(
            queues=f"{queues[number % 50]},{queues[(number + 1) % 50]}",
            busyRatio=f"0.{number + 100}",
            queueLatency="5",
            **({"deployment": f"shop-{number % 10}"} if number % 2 else {}),
            **({"hostnameRegex": f"shop-[{number % 7}-9]"} if number % 3 == 0 else {}),
        )
        for number in range(500)
    ]
    asked: list[tuple[str, int]] = []
    one = asking(Backends(count_requests=lambda _, operation, count: asked.append((operation, count))))
    readings = await one.readings(*triggers)
    assert asked == [("connect", 1), ("pipeline", 1), ("pipeline", 1)]
    assert len(of(ProcessSet, readings).live) == 200
    assert sum(client["name"] == "keda-queue-scaler" for client in await redis.client_list()) == 1

    now = time.time()
    first = [one.assess(readings, now) for one in triggers]
    assert all(told.active for told in first)
    assert min(seconds_to_assess(triggers, readings, now) for _ in range(5)) < 0.05


def seconds_to_assess(triggers: list[SidekiqTrigger], readings: dict[Place, Any], now: float) -> float:
    """Return the processor time for all triggers after a heartbeat has changed something."""
    of(ProcessSet, readings).memo.clear()
    before = time.process_time()
    for one in triggers:
        one.assess(readings, now)
    return time.process_time() - before


async def test_reads_at_the_same_time_share_the_connection(redis: Redis, asking: Any, trigger: Trigger) -> None:
    one = asking()
    triggers = [trigger(queues=f"queue-{number}") for number in range(20)]
    await asyncio.gather(*(one.outcomes(each) for each in triggers))
    assert sum(client["name"] == "keda-queue-scaler" for client in await redis.client_list()) == 1


async def test_nothing_is_ever_written(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await heartbeat(redis, "a:1:0a")
    before = await redis.info("persistence")
    await asking().readings(trigger(capsule="default", queueLatency="1"))
    after = await redis.info("persistence")
    assert after["rdb_changes_since_last_save"] == before["rdb_changes_since_last_save"]


async def test_forgotten_redis_is_left_and_read_again_when_wanted(redis: Redis, asking: Any, trigger: Trigger) -> None:
    one = asking()
    places = trigger().places()
    for _ in range(2):
        await one.readings(trigger())
        for place in places:
            one.reader.forget(place)
        async with asyncio.timeout(5):
            while any(client["name"] == "keda-queue-scaler" for client in await redis.client_list()):  # noqa: ASYNC110 - Redis has no event for it
                await asyncio.sleep(0)
    one.reader.forget(places[0])


# Faults


async def test_named_connection(valkey: Valkey, redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.lpush("queue:default", "{}")
    configured = {"main": RedisServer(url=SecretStr(valkey.url))}
    guard = Addresses(allow_loopback=False)
    readings = await asking(Backends(redis=configured, addresses=guard)).readings(trigger(redis="main"))
    assert of(QueueDepth, readings).waiting == 1
    with pytest.raises(Refused, match="no connection named other"):
        await asking(Backends(redis=configured)).readings(trigger(redis="other"))


async def test_url_of_a_trigger_passes_the_guard(asking: Any, trigger: Trigger) -> None:
    with pytest.raises(Refused, match=r"127\.0\.0\.1 is refused"):
        await asking(Backends(addresses=Addresses(allow_loopback=False))).readings(trigger())


async def test_place_of_a_wrong_type_fails_alone(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.set("queue:mail", "a string")
    await redis.lpush("queue:default", "{}")
    found = await asking().outcomes(trigger(queues="default,mail"))
    assert of(QueueDepth, found, "default") == Depth(1, paused=False)
    refused = of(QueueDepth, found, "mail")
    assert isinstance(refused, Refused)
    assert "LLEN queue:mail" in str(refused)
    assert isinstance(of(ProcessSet, found), Processes)


async def test_set_of_a_wrong_type_fails_what_needs_it(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.set("processes", "a string")
    found = await asking().outcomes(trigger())
    assert isinstance(of(ProcessSet, found), Refused)
    assert of(QueueDepth, found) == Depth(0, paused=False)


async def test_restart_is_a_fault_before_it_is_an_empty_redis(asking: Any, trigger: Trigger) -> None:
    with Valkey() as valkey:
        client = valkey.client()
        await client.lpush("queue:default", "{}")
        await client.aclose()
        one, mine = asking(), trigger(redisURL=valkey.url)
        assert of(QueueDepth, await one.readings(mine)).waiting == 1
        valkey.stop()
        valkey.start()
        found = await one.outcomes(mine)
        assert all(isinstance(outcome, Unavailable) for outcome in found.values())
        assert of(QueueDepth, await one.readings(mine)).waiting == 0


async def test_redis_that_is_down_is_unavailable(asking: Any, trigger: Trigger) -> None:
    with Valkey() as valkey:
        mine = trigger(redisURL=valkey.url)
    found = await asking().outcomes(mine)
    assert {type(outcome) for outcome in found.values()} == {Unavailable}


SANE = {
    b"TIME": array(b"1795345098", b"0"),
    b"LLEN": b":1\r\n",
    b"LINDEX": b'$16\r\n{"created_at":1}\r\n',
    b"HMGET": array(b'{"queues":["default"],"concurrency":5}', b"1", b"1795345098", b"false", b"5"),
    b"HGETALL": array(),
    b"PTTL": b":60000\r\n",
    b"ZRANGEBYSCORE": array(b'{"queue":"default"}', b"1"),
}


def sane(command: list[bytes]) -> bytes:
    """Answer as a Redis with one busy process and one waiting job."""
    if command[0] == b"SMEMBERS":
        return array(b"a:1:0a") if command[1] == b"processes" else array()
    return SANE.get(command[0], b"+OK\r\n")


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
    question: bytes, answer: bytes, asking: Any, trigger: Trigger
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
    monkeypatch: pytest.MonkeyPatch, asking: Any, trigger: Trigger
) -> None:
    hang: Any = lambda command: None if command[0] == b"HMGET" else sane(command)  # noqa: E731 - a script
    async with RespServer(hang) as fake:
        one = asking()
        mine = trigger(redisURL=f"redis://:canary@127.0.0.1:{fake.port}")
        async with asyncio.timeout(one.reader.timeout_seconds):
            found = await one.outcomes(mine)
        assert of(QueueDepth, found) == Depth(1, paused=False)
        assert isinstance(of(ProcessSet, found), Unavailable)
        assert "no answer within 2 s" in str(of(ProcessSet, found))
        assert "canary" not in str(of(ProcessSet, found))
        await one.reader.close()


async def test_read_that_is_given_up_leaves_no_answer_for_the_next(asking: Any, trigger: Trigger) -> None:
    async with RespServer(lambda command: None if command[0] == b"LLEN" else sane(command)) as fake:
        one = asking()
        mine = trigger(redisURL=f"redis://127.0.0.1:{fake.port}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await one.outcomes(mine)
        fake.answer = sane
        assert of(QueueDepth, await one.readings(mine)) == Depth(1, paused=False)
        await one.reader.close()


async def test_too_many_members_are_refused_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, asking: Any, trigger: Trigger
) -> None:
    monkeypatch.setattr("scaler.sources.sidekiq.places.MAX_PROCESSES", 2)
    many = array(b"a:1:a", b"b:1:b", b"c:1:c")
    async with RespServer(
        lambda command: many if command[:2] == [b"SMEMBERS", b"processes"] else sane(command)
    ) as fake:
        one = asking()
        found = await one.outcomes(trigger(redisURL=f"redis://127.0.0.1:{fake.port}"))
        assert "at most 2" in str(of(ProcessSet, found))
        assert not any(command[0] == b"HMGET" for command in fake.commands)
        await one.reader.close()
