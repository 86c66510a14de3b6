"""What push promises, over real sockets: quick, lossless, and leaving nothing behind."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from scaler.core.clock import SystemClock
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Work
from scaler.demo.valkey import Valkey
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings

pytestmark = pytest.mark.slow

WAKE_SECONDS = 0.25
"""Most of 50 wake-ups with tracking, on a machine that does other things too."""
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


Opened = tuple[Server, Any]


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Opened]:
    told: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "http": "127.0.0.1:0",
        "drain": {"wait_seconds": 0.0, "grace_seconds": 5.0},
        "page": {"enabled": False},
        **settings,
    }
    server = Server(Settings(**told), SystemClock())
    try:
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, ExternalScalerStub(channel)
    finally:
        await server.close()


def ref(valkey: Valkey, number: int) -> pb.ScaledObjectRef:
    metadata = {"source": "sidekiq", "redisURL": valkey.url, "queues": f"queue-{number}"}
    return pb.ScaledObjectRef(namespace="shop", name=f"workload-{number}", scalerMetadata=metadata)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - a state that nobody tells of
            await asyncio.sleep(0.01)


async def test_fifty_wake_ups_with_tracking_are_quick_and_none_is_lost(valkey: Valkey) -> None:
    heard: dict[int, float] = {}
    client: Any = valkey.client()

    async def listen(stub: Any, number: int) -> None:
        async for answer in stub.StreamIsActive(ref(valkey, number)):
            assert answer.result
            heard.setdefault(number, time.monotonic())

    async def arrive(number: int) -> float:
        await asyncio.sleep(2 * random.random())
        began = time.monotonic()
        await client.lpush(f"queue:queue-{number}", "{}")
        return began

    async with serving() as (server, stub):
        tasks = [asyncio.create_task(listen(stub, number)) for number in range(50)]
        await until(lambda: sum(scaled_object.answer is not None for scaled_object in server.registry) == 50)
        async with asyncio.timeout(PATIENCE_SECONDS):  # tracking begins after the first good read
            while not (await client.info("clients"))["tracking_clients"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        assert heard == {}
        arrived = await asyncio.gather(*map(arrive, range(50)))
        await until(lambda: len(heard) == 50)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await client.flushall()
    await client.aclose()
    waits = sorted(heard[number] - began for number, began in enumerate(arrived))
    assert waits[len(waits) // 2] < WAKE_SECONDS / 2
    assert waits[-2] < WAKE_SECONDS


async def test_the_end_of_the_server_ends_every_stream_well(valkey: Valkey) -> None:
    async with serving() as (server, stub):
        calls = [stub.StreamIsActive(ref(valkey, number % 20)) for number in range(200)]
        reads = [asyncio.create_task(call.read()) for call in calls]
        await until(lambda: len(server.streams) == 200)
        async with asyncio.timeout(10):
            await server.drain()
            ended = await asyncio.gather(*reads)
            codes = [await call.code() for call in calls]
    assert set(ended) == {grpc.aio.EOF}
    assert set(codes) == {grpc.StatusCode.OK}


async def test_clients_that_come_and_go_leave_neither_task_nor_listener_nor_lease(valkey: Valkey) -> None:
    async with serving() as (server, _), valkey.client() as client:
        await client.sadd("queues", *(f"queue-{number}" for number in range(20)))

        async def once() -> None:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                calls = [ExternalScalerStub(channel).StreamIsActive(ref(valkey, number)) for number in range(20)]
                await until(lambda: len(server.streams) == len(calls))
            await until(lambda: len(server.streams) == 0)

        def held() -> tuple[int, int, int]:
            lessees = sum(status.lessees for status in server.snapshots.statuses())
            return len(server.registry), len(server.snapshots), lessees

        await once()
        await until(lambda: all(status.age is not None for status in server.snapshots.statuses()))
        before = held()
        for _ in range(10):
            await once()
        assert held() == before
        assert not any(scaled_object.listeners or scaled_object.timer for scaled_object in server.registry)
        assert not server.listeners._listening


async def test_a_sleeping_place_is_read_fast_and_an_active_one_slowly(
    serve: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    speeds = {"idleRefreshSeconds": "1", "refreshSeconds": "10"}
    async with serve() as client:
        call = client.stub.StreamIsActive(client.ref("a", **speeds))
        first = asyncio.ensure_future(call.read())
        await asyncio.wait_for(reader.asked.wait(), PATIENCE_SECONDS)
        asleep = reader.count("a")
        await clock.advance(60)
        asleep = reader.count("a") - asleep
        reader.answers["a"] = Work(5)
        await clock.advance(1.5)
        assert (await asyncio.wait_for(first, PATIENCE_SECONDS)).result
        awake = reader.count("a")
        await clock.advance(60)
        awake = reader.count("a") - awake
        call.cancel()
        await until(lambda: len(client.server.streams) == 0)
    assert 60 <= asleep <= 68
    assert 5 <= awake <= 8
