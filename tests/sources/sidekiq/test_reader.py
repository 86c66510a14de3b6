import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from scaler.demo.clock import ManualClock
from scaler.demo.resp import RespServer, Script
from scaler.demo.sidekiq import SidekiqClient
from scaler.sources.backends import Backends
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.due_jobs import MAX_DUE, DueJobs
from scaler.sources.sidekiq.places import OldestJob, QueueDepth
from scaler.sources.sidekiq.process_set import ProcessSet
from scaler.sources.sidekiq.state import Depth

Trigger = Callable[..., SidekiqTrigger]
RUNNING = ["v6.4.1-02-running.json", "v7.3.10-02-running.json", "v8.1.7-02-running.json"]


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
    (process,) = readings.of(ProcessSet).live
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
    (process,) = (await asking().readings(trigger(capsule="default"))).of(ProcessSet).live
    assert process.jobs == (("critical", 1), ("default", 2))  # up to 6.4.1 in `:workers`
    assert len(process.began) == 3


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
    found = (await asking().readings(trigger())).of(ProcessSet)
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
    assert readings.of(QueueDepth, "default") == Depth(1, paused=False)
    assert readings.of(QueueDepth, "mail") == Depth(1, paused=True)


async def test_oldest_job_is_the_one_that_is_taken_next(redis: Redis, asking: Any, trigger: Trigger) -> None:
    for since in (1_000, 2_000, 3_000):
        await redis.lpush("queue:default", json.dumps({"enqueued_at": since}))
    oldest = (await asking().readings(trigger(queueLatency="1"))).of(OldestJob)
    assert oldest.since == 1_000


async def test_due_jobs_within_the_lead_and_soon_after(redis: Redis, asking: Any, trigger: Trigger) -> None:
    now = time.time()
    job = '{"queue":"default","n":%d}'
    await redis.zadd("schedule", {job % 1: now - 5, job % 2: now + 20, job % 3: now + 3_600})
    await redis.zadd("retry", {job % 4: now + 60})
    await redis.zadd("dead", {job % 5: now})
    due = (await asking().readings(trigger())).of(DueJobs)
    assert [round(at - now) for at in due.times["default"]] == [-5, 20, 60]


async def test_page_of_due_jobs_is_limited(redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.zadd("schedule", {f'{{"queue":"other","n":{number}}}': number for number in range(MAX_DUE + 1)})
    await redis.zadd("schedule", {'{"queue":"default"}': MAX_DUE + 2})
    readings = await asking().readings(trigger())
    assert len(readings.of(DueJobs).times["other"]) == MAX_DUE
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
    await redis.delete("schedule")
    await redis.zadd("schedule", {'{"queue":"default"}': time.time() + 80})
    await clock.advance(3_600)  # the clock of this machine is put forward
    readings = await one.readings(trigger())
    assert not trigger().assess(readings, clock.wall()).active
    assert trigger().assess(readings, clock.wall() + 60).active


# One read


async def test_500_triggers_take_four_round_trips_and_one_connection(
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
    assert asked == [("connect", 1), *4 * [("pipeline", 1)]]  # two for up to 16 processes
    assert len(readings.of(ProcessSet).live) == 200
    assert sum(client["name"] == "keda-queue-scaler" for client in await redis.client_list()) == 1

    now = time.time()
    first = [one.assess(readings, now) for one in triggers]
    assert all(told.active for told in first)
    readings = await one.readings(*triggers)  # which finds who fetches the queues that are asked about
    assert [one.assess(readings, now) for one in triggers] == first


async def test_reads_at_the_same_time_share_the_connection(redis: Redis, asking: Any, trigger: Trigger) -> None:
    one = asking()
    triggers = [trigger(queues=f"queue-{number}") for number in range(20)]
    await asyncio.gather(*(one.outcomes(each) for each in triggers))
    assert sum(client["name"] == "keda-queue-scaler" for client in await redis.client_list()) == 1


async def test_what_several_places_need_is_asked_once(asking: Any, trigger: Trigger, sane: Script) -> None:
    async with RespServer(sane) as fake:
        one = asking()
        url = f"redis://127.0.0.1:{fake.port}"
        await one.readings(trigger(redisURL=url, queues="a,b,c"), trigger(redisURL=url, capsule="default"))
        asked = [tuple(command) for command in fake.commands if command != [b"ROLE"]]
        assert len(asked) == len(set(asked))
        assert {(b"SMEMBERS", b"paused"), (b"LLEN", b"queue:c"), (b"HGETALL", b"a:1:0a:work")} < set(asked)
        await one.reader.close()


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


async def test_it_counts_as_a_change_when_all_is_gone_under_work(redis: Redis, asking: Any, trigger: Trigger) -> None:
    one = asking()  # after FLUSHALL the same server has no heartbeats for up to 10 s, while all processes are at work

    async def changed_at() -> float:
        return max((await one.readings(trigger())).changes.values())

    await heartbeat(redis, "a:1:0a", busy=3)
    before = await changed_at()
    await redis.srem("processes", "a:1:0a")
    await redis.sadd("processes", "killed:1:0d")
    assert await changed_at() == before
    await heartbeat(redis, "a:1:0a", busy=3)
    assert await changed_at() == before
    await redis.flushall()
    flushed = await changed_at()
    assert flushed > before
    await heartbeat(redis, "a:1:0a", busy=3)
    assert await changed_at() == flushed
    for leaving in (redis.hset("a:1:0a", "busy", 0), redis.delete("processes")):  # an idle process may leave
        await leaving
        assert await changed_at() == flushed
