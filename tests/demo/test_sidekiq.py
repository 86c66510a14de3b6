import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from scaler.demo.clock import ManualClock
from scaler.demo.sidekiq import SidekiqClient, SidekiqOptions, SidekiqProcess
from scaler.demo.valkey import Valkey

DUMPS = Path(__file__).parents[1] / "sources" / "sidekiq" / "dumps"
RUNNING = {"6.4.1": ":workers", "7.3.10": ":work", "8.1.7": ":work"}
QUEUES = {"critical": 2, "default": 0}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def start(redis: Redis, clock: ManualClock) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts a process; those that still run at the end are killed."""
    started: list[SidekiqProcess] = []

    async def one(**options: Any) -> SidekiqProcess:
        process = SidekiqProcess(redis, clock, SidekiqOptions(**{"queues": QUEUES, **options}))
        started.append(process)
        await process.start()
        return process

    yield one
    for process in started:
        await process.kill()
    assert clock.pending == 0


@pytest.fixture
def passes(redis: Any, clock: ManualClock) -> Callable[..., Any]:
    """Return a function that lets seconds pass until a condition holds."""

    async def passing(seconds: float, condition: Callable[[], Any]) -> None:
        for _ in range(int(seconds * 10)):
            if condition():
                return
            await clock.advance(0.1)
            for _ in range(5):  # whatever a process has asked before is answered by then
                await redis.ping()
        assert condition()

    return passing


@pytest.mark.parametrize("version", RUNNING)
async def test_writes_what_a_real_process_of_the_version_writes(
    version: str, redis: Any, clock: ManualClock, start: Any, passes: Any
) -> None:
    dump = json.loads((DUMPS / f"v{version}-02-running.json").read_text())["keys"]
    (real,) = dump["processes"]["value"]
    process = await start(version=version, tag="shop")
    client = SidekiqClient(redis, clock, version=version)
    for queue in ("default", "default", "critical"):
        await client.push(queue, 600)
    await client.push("reports", 1)
    await client.push("default", 1, at=clock.wall() + 3_600)
    await passes(5, lambda: process.busy == 3)
    await process.beat()

    assert await redis.smembers("processes") == {process.identity.encode()}
    fields = {name.decode(): value.decode() for name, value in (await redis.hgetall(process.identity)).items()}
    theirs = dump[real]["value"]
    assert fields.keys() == theirs.keys()
    assert {name: fields[name] for name in ("busy", "quiet")} == {name: theirs[name] for name in ("busy", "quiet")}
    info, real_info = json.loads(fields["info"]), json.loads(theirs["info"])
    assert list(info) == list(real_info)
    told = {"tag", "concurrency", "queues", "labels", "weights", "capsules", "version", "embedded"}
    assert {key: info[key] for key in told & info.keys()} == {key: real_info[key] for key in told & info.keys()}
    assert 59_000 < await redis.pttl(process.identity) <= 60_000

    suffix = RUNNING[version]
    jobs = [json.loads(job) for job in (await redis.hgetall(process.identity + suffix)).values()]
    real_jobs = [json.loads(job) for job in dump[real + suffix]["value"].values()]
    assert sorted(job["queue"] for job in jobs) == sorted(job["queue"] for job in real_jobs)
    assert jobs[0].keys() == real_jobs[0].keys()
    assert type(jobs[0]["run_at"]) is type(real_jobs[0]["run_at"])

    waiting = json.loads(await redis.lindex("queue:reports", -1))
    real_waiting = json.loads(dump["queue:reports"]["value"][-1])
    assert waiting.keys() == real_waiting.keys()
    assert type(waiting["enqueued_at"]) is type(real_waiting["enqueued_at"])
    ((scheduled, _),) = await redis.zrange("schedule", 0, -1, withscores=True)
    assert json.loads(scheduled).keys() == json.loads(dump["schedule"]["value"][0][0]).keys()


@pytest.mark.parametrize(("version", "seconds"), [("6.4.1", 5.0), ("7.3.10", 10.0), ("8.1.7", 10.0)])
async def test_beats_as_often_as_the_version(
    version: str, seconds: float, redis: Any, clock: ManualClock, start: Any
) -> None:
    process = await start(version=version)
    first = float(await redis.hget(process.identity, "beat"))
    await redis.delete(process.identity)
    await clock.advance(seconds - 0.01)
    assert not await redis.exists(process.identity)
    await clock.advance(0.01)
    async with asyncio.timeout(5):
        while not await redis.exists(process.identity):
            pass
    assert float(await redis.hget(process.identity, "beat")) == pytest.approx(first + seconds)


async def test_takes_as_many_jobs_as_it_has_threads_and_finishes_them(
    redis: Any, clock: ManualClock, start: Any, passes: Any
) -> None:
    client = SidekiqClient(redis, clock)
    for _ in range(5):
        await client.push("default", 2)
    process = await start(concurrency=3)
    await passes(1, lambda: process.busy == 3)
    assert await redis.llen("queue:default") == 2
    await passes(3, lambda: process.busy == 2)
    await passes(3, lambda: process.busy == 0)


async def test_quiet_takes_no_more_jobs_and_says_so_with_the_next_beat(
    redis: Any, clock: ManualClock, start: Any
) -> None:
    process = await start()
    process.quiet()
    await SidekiqClient(redis, clock).push("default", 1)
    await clock.advance(1)
    assert await redis.llen("queue:default") == 1
    assert await redis.hget(process.identity, "quiet") == b"false"
    await process.beat()
    assert await redis.hget(process.identity, "quiet") == b"true"


async def test_stop_lets_jobs_end_and_leaves_only_the_hash(
    redis: Any, clock: ManualClock, start: Any, passes: Any
) -> None:
    await SidekiqClient(redis, clock).push("default", 3)
    process = await start(timeout_seconds=25)
    await passes(1, lambda: process.busy == 1)
    stopping = asyncio.ensure_future(process.stop())
    await passes(4, stopping.done)
    assert not await redis.smembers("processes")
    assert not await redis.exists(f"{process.identity}:work")
    assert await redis.exists(process.identity)
    assert await redis.llen("queue:default") == 0


async def test_stop_gives_back_what_takes_too_long(redis: Any, clock: ManualClock, start: Any, passes: Any) -> None:
    client = SidekiqClient(redis, clock)
    await client.push("default", 600)
    payload = await redis.lindex("queue:default", -1)
    process = await start(timeout_seconds=5)
    await passes(1, lambda: process.busy == 1)
    await client.push("default", 1)
    stopping = asyncio.ensure_future(process.stop())
    await clock.advance(4)
    assert not stopping.done()
    await passes(2, stopping.done)
    assert await redis.lindex("queue:default", -1) == payload
    assert await redis.llen("queue:default") == 2


async def test_kill_leaves_everything_as_it_was(redis: Any, clock: ManualClock, start: Any, passes: Any) -> None:
    await SidekiqClient(redis, clock).push("default", 600)
    process = await start()
    await passes(1, lambda: process.busy == 1)
    await process.beat()
    await process.kill()
    assert clock.pending == 0
    assert await redis.smembers("processes") == {process.identity.encode()}
    assert await redis.hget(process.identity, "busy") == b"1"
    assert await redis.hlen(f"{process.identity}:work") == 1
    assert await redis.llen("queue:default") == 0


async def test_due_job_is_moved_only_by_a_process_and_ghosts_go(
    redis: Any, clock: ManualClock, start: Any, passes: Any
) -> None:
    await SidekiqClient(redis, clock).push("default", 1, at=clock.wall() - 5)
    await redis.sadd("processes", "ghost:1:0a")
    await clock.advance(60)
    assert await redis.zcard("schedule") == 1
    process = await start()
    await clock.advance(9)
    assert await redis.zcard("schedule") == 1
    await passes(10, lambda: process.busy == 1)
    assert await redis.zcard("schedule") == 0
    assert await redis.smembers("processes") == {process.identity.encode()}


async def test_goes_on_when_redis_was_away(clock: ManualClock) -> None:
    with Valkey() as valkey:
        client: Any = valkey.client(retry=None)
        process = SidekiqProcess(client, clock, SidekiqOptions(QUEUES, version="6.4.1"))
        await process.start()
        valkey.stop()
        await clock.advance(5)
        valkey.start()
        beaten = False
        for _ in range(100):
            await clock.advance(1)
            if beaten := bool(await client.exists(process.identity)):
                break
        assert beaten
        await process.kill()
        await client.aclose()
