import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from scaler.demo.clock import ManualClock
from scaler.demo.sqs import Producer, Shoryuken, SqsDouble, SqsWorkload
from scaler.keda.manifests import parse as parse_manifest
from scaler.sources.triggers import parse

_numbers = count()


@pytest.fixture
async def double() -> AsyncIterator[SqsDouble]:
    made = SqsDouble()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def queue(double: SqsDouble) -> str:
    return await double.create_queue(f"demo-{next(_numbers)}", VisibilityTimeout="600")


async def counts(double: SqsDouble, queue: str) -> tuple[int, int, int]:
    names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
    attributes = (await double.call("get_queue_attributes", QueueUrl=queue, AttributeNames=names))["Attributes"]
    visible, in_flight, delayed = (int(attributes[name]) for name in names)
    return visible, in_flight, delayed


async def until(clock: ManualClock, true: Callable[[], bool]) -> None:
    """Let time pass until something is so; what goes over a socket takes as long as it takes."""
    async with asyncio.timeout(20):
        while not true():
            await clock.advance(0.05)


async def test_the_double_is_sqs(double: SqsDouble) -> None:
    url = await double.create_queue(f"demo-{next(_numbers)}.fifo")
    assert url.endswith(".fifo")
    assert await counts(double, url) == (0, 0, 0)
    plain = await double.create_queue(f"demo-{next(_numbers)}")
    await double.send(plain, 23)
    await double.send(plain, 4, delay_seconds=900)
    await double.call("receive_message", QueueUrl=plain, MaxNumberOfMessages=10)
    assert await counts(double, plain) == (13, 10, 4)


async def test_the_producer_sends_at_its_course() -> None:
    clock, sent = ManualClock(now=0), []

    class Recorder(SqsDouble):
        async def send(self, queue: str, messages: int, delay_seconds: int = 0) -> None:
            sent.extend([clock.now()] * messages)

    producer = Producer(Recorder(), "orders", clock)
    running = asyncio.create_task(producer.run([(2, 5), (1, 0), (1, 20)]))
    course = []
    for _ in range(8):
        await clock.advance(0.5)
        course.append(len(sent))
    assert course == [2, 5, 8, 10, 10, 10, 20, 30]
    assert producer.sent == 30
    await running


async def test_a_process_holds_as_many_messages_as_it_has_threads(double: SqsDouble, queue: str) -> None:
    clock = ManualClock()
    workers = Shoryuken(double, queue, clock, concurrency=3, service_seconds=5)
    await double.send(queue, 8)
    await workers.scale(2)
    async with asyncio.timeout(20):
        while workers.busy < 6:
            await clock.advance(0)
    await clock.advance(1)
    assert workers.busy == 6
    assert await counts(double, queue) == (2, 6, 0)
    await until(clock, lambda: workers.done == 8)
    assert await counts(double, queue) == (0, 0, 0)
    await workers.kill()


async def test_a_process_that_is_stopped_ends_its_messages_and_takes_no_more(double: SqsDouble, queue: str) -> None:
    clock = ManualClock()
    workers = Shoryuken(double, queue, clock, concurrency=3, service_seconds=5)
    await double.send(queue, 8)
    await workers.scale(1)
    async with asyncio.timeout(20):
        while workers.busy < 3:
            await clock.advance(0)
    await workers.scale(0)
    await until(clock, lambda: (workers.done, workers.busy) == (3, 0))
    assert await counts(double, queue) == (5, 0, 0)


async def test_a_process_that_is_killed_leaves_its_messages_in_flight(double: SqsDouble, queue: str) -> None:
    clock = ManualClock()
    workers = Shoryuken(double, queue, clock, concurrency=2, service_seconds=5)
    await double.send(queue, 2)
    await workers.scale(1)
    async with asyncio.timeout(20):
        while workers.busy < 2:
            await clock.advance(0)
    await workers.kill()
    assert (workers.done, workers.busy) == (0, 0)
    assert await counts(double, queue) == (0, 2, 0)
    assert clock.pending == 0


async def test_the_workload_is_one_that_the_scaler_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    workload = SqsWorkload(course=[(0.1, 20)])
    async with AsyncExitStack() as stack:
        await workload.open(stack)
        assert "AWS_PROFILE" not in os.environ
        assert os.environ["AWS_ENDPOINT_URL_SQS"].startswith("http://127.0.0.1:")
        (scaled_object,) = parse_manifest(workload.manifest("127.0.0.1:9090"), "demo.yaml").objects
        trigger = parse(scaled_object.triggers[0].metadata, "shop")
        assert [(spec.name, spec.target) for spec in trigger.specs()] == [("sqs-orders", 5)]
        await workload.load()
        assert await workload.waiting() == 2
    assert {name: value for name, value in os.environ.items() if name.startswith("AWS_")} == before
