"""Large Redises: processes and due jobs are read in pages, and nothing of them is lost."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from scaler.clients.redis.server import RedisRef
from scaler.sources import redis_places
from scaler.sources.backends import Backends
from scaler.sources.redis_places import Answers, RedisClock
from scaler.sources.sidekiq import SidekiqTrigger, state
from scaler.sources.sidekiq.due_jobs import MAX_DUE, DueJobs
from scaler.sources.sidekiq.fleet import WATCHED, Processes
from scaler.sources.sidekiq.info import Names, parse_info
from scaler.sources.sidekiq.page_size import PAGE_BYTES, PageSize
from scaler.sources.sidekiq.process_set import PAGE, ROUND_BYTES, ProcessSet
from scaler.sources.sidekiq.workload import Selection, workload_of

CLOCK = RedisClock(0.0)
REF = RedisRef("redis/main", name="main")


async def beat(redis: Redis, count: int, queues: int = 2, *, distinct: bool = False) -> None:
    """Write `count` heartbeats in two Deployments, each with `queues`; every third thread is busy."""
    for start in range(0, count, 500):
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(count, start + 500)):
                host = f"shop-{number % 2}-6d4cf56db6-{number:05d}"
                names = [f"{number}-{queue}" if distinct else f"q{queue}" for queue in range(queues)]
                info = {"queues": names, "concurrency": 3, "tag": "shop", "labels": [], "hostname": host}
                fields = {"info": json.dumps(info), "busy": 1, "beat": time.time(), "quiet": "false"}
                pipe.sadd("processes", f"{host}:1:0a")
                pipe.hset(f"{host}:1:0a", mapping=fields)
                pipe.expire(f"{host}:1:0a", 60)
            await pipe.execute()


async def test_processes_of_many_pages_are_all_read(redis: Redis, asking: Any, trigger: Any) -> None:
    count = 3 * PAGE + 7  # the first two pages are smaller ones: 16 and 64
    await beat(redis, count)
    await redis.sadd("processes", "ghost:1:0a", "stranger:1:0a")
    await redis.set("stranger:1:0a", "a string")
    asked: list[str] = []
    one = asking(Backends(count_requests=lambda _, operation, __: asked.append(operation)))
    found: Processes = (await one.readings(trigger(queues="q0"))).of(ProcessSet)
    assert len(found.live) == len({process.identity for process in found.live}) == count
    assert (found.ghosts, found.strangers) == (1, 1)
    assert asked.count("pipeline") == 1 + 5
    workload = workload_of(found, Selection(deployment="shop-1"))
    assert (workload.processes, workload.busy) == (count // 2, count // 2)
    assert found.groups == Processes(found.live).groups


async def test_what_is_too_long_for_an_identity_is_no_process(redis: Redis, asking: Any, trigger: Any) -> None:
    await beat(redis, 1)
    host = "a-" * 100_000
    await redis.sadd("processes", f"{host}:1:0a")
    await redis.hset(f"{host}:1:0a", mapping={"info": "{}", "busy": 1, "beat": time.time(), "quiet": "false"})
    found: Processes = (await asking(Backends()).readings(trigger(queues="q0"))).of(ProcessSet)
    assert (len(found.live), found.strangers) == (1, 1)


async def test_others_may_have_their_turn_before_each_heartbeat_is_parsed(
    redis: Redis, asking: Any, trigger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await beat(redis, 16 + 64)
    wide = [f"q{number}" for number in range(3_000)]
    identities = await redis.smembers("processes")
    ordered = list(identities)  # as the read sees them: SMEMBERS of an unchanged set
    for number, identity in enumerate(ordered[16:]):
        await redis.hset(
            identity, "info", json.dumps({"queues": [f"{number}", *wide], "concurrency": 3, "tag": "shop"})
        )
    taken: list[int] = []  # bytes that were parsed in one turn
    parse = state.parse_process

    def parsed(identity: bytes, told: Any, *rest: Any) -> Any:
        taken[-1] += sum(len(part) for part in told if isinstance(part, bytes))
        return parse(identity, told, *rest)

    async def resting() -> None:
        taken.append(0)

    monkeypatch.setattr(state, "parse_process", parsed)
    monkeypatch.setattr(redis_places, "rest", resting)
    found: Processes = (await asking().readings(trigger(queues="q0"))).of(ProcessSet)
    assert len(found.live) == 80
    assert sum(taken) > 10 * ROUND_BYTES
    assert max(taken) < 40_000  # one heartbeat


async def test_work_of_many_processes_is_read_beside_the_pages(redis: Redis, asking: Any, trigger: Any) -> None:
    count = PAGE + 50
    await beat(redis, count)
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(count):
            host = f"shop-{number % 2}-6d4cf56db6-{number:05d}"
            job = {"queue": "q0", "payload": "x" * 5_000, "run_at": number}
            pipe.hset(f"{host}:1:0a:work", "tid", json.dumps(job))
        await pipe.execute()
    found: Processes = (await asking().readings(trigger(queues="q0", spareBusy="prefer"))).of(ProcessSet)
    assert sorted(process.began[0] for process in found.live) == list(range(count))
    assert all(process.jobs == (("q0", 1),) for process in found.live)


async def test_processes_that_say_the_same_are_kept_once(redis: Redis, asking: Any, trigger: Any) -> None:
    await beat(redis, 300, 700)
    tracemalloc.start()
    found: Processes = (await asking().readings(trigger(queues="q0"))).of(ProcessSet)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len({id(process.info) for process in found.live}) == 1
    assert kept < 1_000_000
    assert peak < 12_000_000


async def test_many_names_take_about_the_bytes_of_their_text(redis: Redis, asking: Any, trigger: Any) -> None:
    """The heartbeats that made 2.5 GB out of 28 MB, a twentieth of them."""
    await beat(redis, 245, 700, distinct=True)
    tracemalloc.start()
    found: Processes = (await asking().readings(trigger(queues="7-3"))).of(ProcessSet)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4_000_000
    assert peak < 16_000_000
    assert workload_of(found, Selection(queues=frozenset({"7-3"}))).processes == 1


async def test_only_what_is_asked_about_is_worked_out_and_with_the_read(
    redis: Redis, asking: Any, trigger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 queues each takes time to find in the names of all processes, which the event loop does not have."""
    monkeypatch.setattr(WATCHED, "_names", {})
    monkeypatch.setattr(WATCHED, "_snapshot", frozenset())
    await beat(redis, 60, 700, distinct=True)
    mine = trigger(queues=",".join(f"{number}-{number}" for number in range(100)), deployment="shop-1")
    one = asking()
    first = await one.readings(mine)
    assert not first.of(ProcessSet).watched
    told = mine.assess(first, 0.0)
    second = await one.readings(mine)
    assert second.of(ProcessSet).watched == set(mine.queues)
    assert len(second.of(ProcessSet).fetching) == 60
    assert mine.assess(second, 0.0) == told
    assert not any(key[0] == "queue" for key in second.of(ProcessSet).memo)
    few = trigger(queues="7-7", deployment="shop-1")
    assert few.assess(second, 0.0).active == few.assess(first, 0.0).active


JOB = '{"queue":"%s","args":["%s"]}'


async def due_of(redis: Redis, asking: Any, trigger: SidekiqTrigger) -> tuple[Any, int]:
    """Return what is due for a trigger, and how many bytes Redis sent for that."""
    await redis.config_resetstat()
    before = (await redis.info("stats"))["total_net_output_bytes"]
    found = await asking().readings(trigger)
    sent = (await redis.info("stats"))["total_net_output_bytes"] - before
    return found, sent


async def test_600_due_retries_of_70_kb_neither_fail_nor_load(redis: Redis, asking: Any, trigger: Any) -> None:
    for number in range(600):
        await redis.zadd("retry", {JOB % ("default", f"{number:070000d}"): number})
    found, sent = await due_of(redis, asking, trigger())
    told = trigger().assess(found, time.time())
    assert told.active
    assert any("due within 30 s" in reason for reason in told.reasons)
    assert found.of(DueJobs).complete_until < 20
    assert sent < 3 * PAGE_BYTES
    other = trigger(queues="mail")
    assert other.assess(await asking().readings(other), time.time()).active  # what is beyond the page may be its own


async def test_small_due_jobs_are_all_read(redis: Redis, asking: Any, trigger: Any) -> None:
    await redis.zadd("schedule", {JOB % ("default" if number % 2 else "mail", number): number for number in range(480)})
    due = (await asking().readings(trigger())).of(DueJobs)
    assert (len(due.times["default"]), len(due.times["mail"])) == (240, 240)
    assert due.complete_until == float("inf")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16, 17, 63, 64, 65, 256, 257, MAX_DUE - 1, MAX_DUE])
async def test_due_jobs_of_any_number(redis: Redis, asking: Any, trigger: Any, count: int) -> None:
    await redis.zadd("retry", {JOB % ("default", number): number for number in range(count)})
    due = (await asking().readings(trigger())).of(DueJobs)
    assert due.times["default"] == tuple(range(count))
    assert due.complete_until == (float("inf") if count < MAX_DUE else MAX_DUE - 1)


@given(st.lists(st.integers(1, 3_000), max_size=700), st.integers(1, 3_000_000))
def test_pages_of_due_jobs_give_the_beginning_of_the_whole(sizes: list[int], factor: int) -> None:
    """Whatever the jobs weigh, what is found is the first of them, and where it ends is told."""
    page = [(f'{{"queue":"{number % 3}"}}'.encode(), number) for number in range(len(sizes))]
    weights = [min(200_000, size * factor // 1_000) for size in sizes]
    place = DueJobs(REF, "", 30.0)
    answers = Answers()
    asked = list(place.second(answers, 0.0))
    rounds = 0
    while asked:
        rounds += 1
        for command in asked:
            limit = int(command[-1])
            told = page[:limit] if command[1] == "schedule" else []
            answer = [
                part
                for (job, score), weight in zip(told, weights, strict=False)
                for part in (job + b" " * weight, b"%d" % score)
            ]
            answers.add([command], [answer])
        asked = list(place.more(answers, 0.0))
    due = place.value(answers, 0.0, CLOCK)
    found = sorted(time for times in due.times.values() for time in times)
    assert found == list(range(len(found)))
    assert rounds <= 8
    if len(found) < len(page) or len(found) >= MAX_DUE:
        assert due.complete_until == found[-1]
    else:
        assert due.complete_until in {float("inf"), found[-1] if found else float("inf")}


@given(st.lists(st.integers(0, 10_000_000), max_size=20))
def test_page_never_brings_much_more_than_it_may(largest: list[int]) -> None:
    size = PageSize(1, 500)
    seen = 1
    for entry in largest:
        before = size.entries
        size.learn(entry)
        seen = max(seen, entry)
        assert 1 <= size.entries <= min(500, before * 4)
        assert size.entries == 1 or size.entries * seen <= PAGE_BYTES


# Names


@given(st.sets(st.text(st.characters(exclude_characters="\0"), max_size=6), max_size=8), st.text(max_size=6))
def test_names_are_a_set(names: set[str], other: str) -> None:
    kept = Names(names)
    assert kept == names
    assert set(kept) == names
    assert len(kept) == len(names)
    assert (other in kept) is (other in names)
    assert bool(kept) is bool(names)
    assert hash(kept) == hash(Names(sorted(names, reverse=True)))


def test_name_with_a_nul_is_not_understood() -> None:
    assert parse_info(b'{"queues":["a\\u0000b"],"concurrency":5}') is None


def test_equal_infos_are_one() -> None:
    told = [json.dumps({"queues": ["b", "a"], "concurrency": 5, "hostname": host}).encode() for host in "xy"]
    assert parse_info(told[0]) is parse_info(told[1])
