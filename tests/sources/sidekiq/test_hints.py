import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from scaler.clients.redis.hints import LONGEST_PAUSE_SECONDS, NOISY_MESSAGES, NOISY_PAUSE_SECONDS
from scaler.core.domain import Fault
from scaler.demo.resp import MASTER, RespServer, array
from scaler.sources.backends import Backends
from scaler.sources.sidekiq import SidekiqTrigger
from tests.sources.sidekiq.conftest import Heard

Trigger = Callable[..., SidekiqTrigger]


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
