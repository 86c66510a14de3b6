import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from scaler.clients.redis.hints import LONGEST_PAUSE_SECONDS, NOISY_MESSAGES, NOISY_PAUSE_SECONDS
from scaler.core.domain import Fault, Place
from scaler.demo.clock import ManualClock
from scaler.demo.resp import MASTER, RespServer, array
from scaler.demo.valkey import Valkey
from scaler.sources.backends import Backends
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.private_queues import Orphans

Trigger = Callable[..., SidekiqTrigger]
DOCS = Path(__file__).parents[3] / "docs" / "sidekiq.md"


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that has no event."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


async def until_connections(redis: Redis, count: int) -> None:
    """Wait until the scaler has `count` connections."""
    async with asyncio.timeout(5):
        while sum(client["name"] == "keda-queue-scaler" for client in await redis.client_list()) != count:
            pass


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


@pytest.fixture
async def listening(redis: Redis, asking: Any, trigger: Trigger, heard: Heard) -> AsyncIterator[Any]:
    """A reader that has read the queues `default` and `mail`, and listens."""
    one = asking(Backends(clock=heard.clock))
    one.reader.listen(heard.hints.put_nowait)
    mine = trigger(queues="default,mail", queueLatency="1")
    await one.readings(mine)
    await heard.all_of(mine)
    yield one
    await one.reader.close()
    assert heard.clock.pending == 0


async def test_changed_queue_is_hinted_at_once(listening: Any, redis: Redis, heard: Heard) -> None:
    await redis.lpush("queue:mail", "{}")
    assert await heard.next(2) == {"Sidekiq queue mail", "oldest job"}
    assert heard.hints.empty()


@pytest.mark.parametrize("key", ["schedule", "retry"])
async def test_changed_schedule_is_hinted(listening: Any, redis: Redis, heard: Heard, key: str) -> None:
    await redis.zadd(key, {"{}": 1})
    assert await heard.next(1) == {"Sidekiq jobs due within 30 s"}


async def test_what_nobody_reads_is_not_hinted(listening: Any, redis: Redis, heard: Heard) -> None:
    await redis.lpush("queue:other", "{}")
    await redis.set("unrelated", 1)
    await redis.zadd("schedule", {"{}": 1})
    assert await heard.next(1) == {"Sidekiq jobs due within 30 s"}
    assert heard.hints.empty()


async def test_flushed_redis_hints_everything(listening: Any, redis: Redis, heard: Heard, trigger: Trigger) -> None:
    await redis.flushall()
    await heard.all_of(trigger(queues="default,mail", queueLatency="1"))


async def test_lost_connection_is_made_again_and_hints_everything(
    listening: Any, redis: Redis, heard: Heard, trigger: Trigger
) -> None:
    for client in await redis.client_list():
        if client["name"] == "keda-queue-scaler":
            await redis.client_kill_filter(_id=client["id"])
    await until(lambda: heard.clock.pending)
    await redis.lpush("queue:mail", "{}")
    assert heard.hints.empty()
    await heard.clock.advance(1.0)
    await heard.all_of(trigger(queues="default,mail", queueLatency="1"))
    await redis.lpush("queue:mail", "{}")
    assert "Sidekiq queue mail" in await heard.next(2)


async def test_forgotten_place_is_not_hinted_and_the_last_one_ends_it(
    listening: Any, redis: Redis, heard: Heard, trigger: Trigger
) -> None:
    places = trigger(queues="default,mail", queueLatency="1").places()
    for place in places:
        if "mail" in str(place):
            listening.reader.forget(place)
    (held,) = listening.reader._redises.values()
    assert set(held._by_key) == {b"queue:default", b"schedule", b"retry"}
    await redis.lpush("queue:mail", "{}")
    await redis.lpush("queue:default", "{}")
    assert await heard.next(2) == {"Sidekiq queue default", "oldest job"}
    for place in places:
        listening.reader.forget(place)
    await until_connections(redis, 0)


async def test_namespaces_are_heard_apart(listening: Any, redis: Redis, heard: Heard, trigger: Trigger) -> None:
    spaced = trigger(queues="default", keyPrefix="shop")
    await listening.readings(spaced)
    await heard.all_of(spaced) if heard.hints.qsize() == 4 else await heard.next(11)
    await redis.lpush("shop:queue:default", "{}")
    async with asyncio.timeout(5):
        place = await heard.hints.get()
    assert place == spaced.plan.depths[0]


async def test_nobody_listens_where_hints_are_not_wanted(redis: Redis, asking: Any, trigger: Trigger) -> None:
    one = asking()
    await one.readings(trigger())
    await until_connections(redis, 1)


async def test_noisy_redis_is_left_alone_for_a_while(
    listening: Any, redis: Redis, heard: Heard, trigger: Trigger
) -> None:
    for _ in range(NOISY_MESSAGES + 1):
        await redis.lpush("queue:other", "{}")
    await until(lambda: heard.clock.pending)
    await until_connections(redis, 1)
    await heard.clock.advance(NOISY_PAUSE_SECONDS - 1)
    assert heard.hints.empty()
    await heard.clock.advance(1)
    await heard.all_of(trigger(queues="default,mail", queueLatency="1"))


# Where Redis does not let it


def no_tracking(refusal: bytes, at: bytes) -> Callable[[list[bytes]], bytes]:
    def answer(command: list[bytes]) -> bytes:
        if command[0] == at or command[:2] == [b"CLIENT", at]:
            return refusal
        return {
            b"TIME": array(b"1795345098", b"0"),
            b"ROLE": MASTER,
            b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n",
            b"SMEMBERS": array(),
            b"LLEN": b":1\r\n",
            b"ZRANGEBYSCORE": array(),
        }.get(command[0], b"+OK\r\n")

    return answer


async def test_redis_that_is_forgotten_while_it_is_read_is_not_listened_to(
    asking: Any, trigger: Trigger, heard: Heard
) -> None:
    held: list[bytes] = []

    def answer(command: list[bytes]) -> bytes | None:
        if command[0] == b"ZRANGEBYSCORE":
            held.append(command[0])
            return None
        return no_tracking(b"", b"")(command)

    async with RespServer(answer) as fake:
        one = asking(Backends(clock=heard.clock))
        one.reader.listen(heard.hints.put_nowait)
        mine = trigger(redisURL=f"redis://127.0.0.1:{fake.port}")
        reading = asyncio.ensure_future(one.outcomes(mine))
        await until(lambda: held)
        for place in mine.places():
            one.reader.forget(place)
        found = await reading
        assert isinstance(found[mine.plan.due], Fault)
        await until(lambda: not fake.connections)
        assert not any(command[0] == b"HELLO" for command in fake.commands)
        await one.reader.close()


@pytest.mark.parametrize(
    "case",
    [
        (b"-NOPERM User default has no permissions to run the 'client|tracking' command\r\n", b"TRACKING", [300]),
        (b"-ERR Prefix 'queue:' overlaps with an existing prefix\r\n", b"TRACKING", [1, 2, 4]),
        (b"-ERR unknown command 'HELLO'\r\n", b"HELLO", [1, 2, 4]),
        (b"-NOPROTO unsupported protocol version\r\n", b"HELLO", [1, 2, 4]),
    ],
    ids=["denied", "refused", "Redis 5", "RESP2 only"],
)
async def test_redis_without_tracking_is_polled_and_asked_again_ever_more_seldom(
    case: tuple[bytes, bytes, list[int]], asking: Any, trigger: Trigger, heard: Heard
) -> None:
    refusal, at, pauses = case
    async with RespServer(no_tracking(refusal, at)) as fake:
        one = asking(Backends(clock=heard.clock))
        one.reader.listen(heard.hints.put_nowait)
        mine = trigger(redisURL=f"redis://127.0.0.1:{fake.port}")

        def attempts() -> int:
            return sum(command[0] == b"HELLO" for command in fake.commands)

        assert mine.assess(await one.readings(mine), 0).active
        for attempt, pause in enumerate(pauses, 1):
            await until(lambda: heard.clock.pending)
            assert attempts() == attempt
            await heard.clock.advance(pause - 0.01)
            assert attempts() == attempt
            assert heard.clock.pending
            await heard.clock.advance(0.01)
        assert mine.assess(await one.readings(mine), 0).active
        assert heard.hints.empty()
        assert max(pauses) <= LONGEST_PAUSE_SECONDS
        await one.reader.close()


# The access rules that the documentation gives


def documented_rules() -> list[str]:
    match = re.search(r"^ACL SETUSER scaler on >PASSWORD (.*)$", DOCS.read_text(), re.MULTILINE)
    assert match
    return match[1].split()


@pytest.fixture
async def grant(valkey: Valkey, redis: Redis, restore: Any) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that gives a user some rules and returns its URL; a process and a queue are there to read."""
    await restore("v8.1.7-02-running.json")
    admin: Any = redis

    async def granted(*rules: str) -> str:
        await admin.execute_command("ACL", "SETUSER", "scaler", "reset", "on", ">canary", *rules)
        return f"redis://scaler:canary@127.0.0.1:{valkey.port}/0"

    yield granted
    await admin.execute_command("ACL", "DELUSER", "scaler")


async def test_documented_rules_are_enough(
    grant: Any, redis: Redis, asking: Any, trigger: Trigger, heard: Heard
) -> None:
    one = asking()
    one.reader.listen(heard.hints.put_nowait)
    url = await grant(*documented_rules())
    mine = trigger(redisURL=url, capsule="default", queues="default,reports", queueLatency="1")
    assert mine.assess(await one.readings(mine), 0).metrics[0].value == pytest.approx(0.6)
    await heard.all_of(mine)
    await redis.lpush("queue:reports", "{}")
    assert "Sidekiq queue reports" in await heard.next(2)
    await one.reader.close()


async def test_super_fetch_needs_one_right_more(grant: Any, redis: Redis, asking: Any, trigger: Trigger) -> None:
    await redis.lpush("queue:sq|gone:1:0a|default", "{}")
    mine = trigger(redisURL=await grant(*documented_rules(), "+scan"), superFetch="true")
    assert (await asking().readings(mine))[mine.plan.private] == Orphans((("default", 1),))
    found = await asking().outcomes(trigger(redisURL=await grant(*documented_rules()), superFetch="true"))
    assert "may not run SCAN" in str(found[mine.plan.private])


async def test_wrong_names_are_noticed_with_the_documented_rules(grant: Any, asking: Any, trigger: Trigger) -> None:
    mine = trigger(redisURL=await grant(*documented_rules()), queues="Default")
    one = asking()
    readings = await one.readings(mine)
    await one.reader.read(mine.further_places(readings), readings)
    assert "did you mean default?" in mine.assess(readings, 0).doubts[0]


@pytest.mark.parametrize(
    "command",
    [
        ("LPUSH", "queue:default", "{}"),
        ("BRPOP", "queue:default", 1),
        ("SREM", "processes", "vm:3291:1783fcd99025"),
        ("HSET", "vm:3291:1783fcd99025", "busy", 0),
        ("DEL", "schedule"),
        ("GET", "stat:processed"),
        ("SCAN", 0),
        ("CONFIG", "GET", "*"),
        ("FLUSHALL",),
    ],
    ids=lambda command: command[0],
)
async def test_documented_rules_forbid_all_else(grant: Any, command: tuple[Any, ...]) -> None:
    user: Any = Redis.from_url(await grant(*documented_rules()))
    with pytest.raises(NoPermissionError):
        await user.execute_command(*command)
    await user.aclose()


NEEDED = [rule for rule in documented_rules() if rule.startswith("%R") or rule in {"+time", "+pttl", "+hgetall"}]
NEEDED.remove("%R~queues")  # without it a misspelt queue is not noticed, and nothing else is wrong


@pytest.mark.parametrize("rule", NEEDED)
async def test_documented_right_is_needed_and_its_lack_told(
    rule: str, grant: Any, asking: Any, trigger: Trigger
) -> None:
    url = await grant(*(other for other in documented_rules() if other != rule))
    found = await asking().outcomes(trigger(redisURL=url, capsule="default", queueLatency="1"))
    told = [str(outcome) for outcome in found.values() if isinstance(outcome, Fault)]
    assert told
    assert all("give it the access rules of docs/sidekiq.md" in one for one in told)
