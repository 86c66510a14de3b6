"""A ScaledJob on a real queue, through the whole server, as KEDA's side (`JobStandIn`) polls it.

Jobs take their message 2 to 5 s after they were started, work for a moment, delete it and end.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest

from scaler.demo.clock import ManualClock
from scaler.demo.sqs import SqsDouble
from scaler.keda.jobs import JobCounts
from scaler.keda.scalable import ScaledJob, ScalingStrategy, Trigger
from scaler.server.app import Server
from scaler.settings import Settings
from tests.keda.standin_jobs import JobEvent, JobStandIn

POLL_SECONDS, STEP_SECONDS = 10, 0.5
MESSAGES = 11


@dataclass
class Jobs:
    """The Jobs of one queue, by a clock that a test moves."""

    sqs: SqsDouble
    url: str
    chance: random.Random
    to_take: list[float] = field(default_factory=list)
    working: list[tuple[float, str]] = field(default_factory=list)
    """When each ends, and the receipt of its message."""
    started: int = 0
    done: int = 0

    def start(self, now: float, count: int) -> None:
        self.started += count
        self.to_take += [now + self.chance.uniform(2, 5) for _ in range(count)]

    def counts(self) -> JobCounts:
        return JobCounts(len(self.to_take) + len(self.working), len(self.to_take))

    async def run(self, now: float) -> None:
        for at in [at for at in self.to_take if at <= now]:
            self.to_take.remove(at)
            received = await self.sqs.call("receive_message", QueueUrl=self.url, MaxNumberOfMessages=1)
            for message in received.get("Messages", ()):  # a Job that finds none ends at once
                self.working.append((at + self.chance.uniform(0.5, 2), message["ReceiptHandle"]))
        for end, receipt in [each for each in self.working if each[0] <= now]:
            self.working.remove((end, receipt))
            await self.sqs.call("delete_message", QueueUrl=self.url, ReceiptHandle=receipt)
            self.done += 1


async def _started(
    moto_server: SqsDouble, url: str, strategy: str, metadata: dict[str, str], *, asked_before: float
) -> int:
    """Send 11 messages within a minute; return how many Jobs KEDA starts for them.

    `asked_before` is how many seconds before the first poll somebody else has the queue read.
    """
    clock, chance = ManualClock(), random.Random(3)
    server = Server(Settings(listen="127.0.0.1:0", http="127.0.0.1:0", drain={"grace_seconds": 0.0}), clock)  # type: ignore[arg-type]  # pydantic makes it
    await server.start()
    jobs = Jobs(moto_server, url, chance)
    events: asyncio.Queue[JobEvent] = asyncio.Queue()
    metadata = {
        "source": "sqs",
        "queueURL": url,
        "awsRegion": moto_server.region,
        "queueLength": "1",
        "scaleOnInFlight": "false",
        "holdInFlight": "false",
        **metadata,
    }
    scaled_job = ScaledJob(
        name="exports",
        namespace="shop",
        polling_interval=POLL_SECONDS,
        scaling_strategy=ScalingStrategy(strategy=strategy),
        triggers=(Trigger(type="external", metadata=metadata),),
    )

    async def start(count: int) -> None:
        jobs.start(clock.now(), count)

    async def pass_time(seconds: float) -> None:
        await clock.advance(seconds)
        while any(backend.in_flight for backend in server.snapshots.backends()):
            await clock.advance(0)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        if asked_before:
            other = JobStandIn(scaled_job, channel, _nothing, JobCounts, on_event=events.put_nowait, clock=clock)
            asking = asyncio.create_task(other.run())
            await asyncio.wait_for(events.get(), 20)
            asking.cancel()
            await pass_time(asked_before)
        stand_in = JobStandIn(scaled_job, channel, start, jobs.counts, on_event=events.put_nowait, clock=clock)
        running = asyncio.create_task(stand_in.run())
        arrivals = sorted(clock.now() + chance.uniform(0, 60) for _ in range(MESSAGES))
        for step in range(int(120 / STEP_SECONDS)):
            if step % (POLL_SECONDS / STEP_SECONDS) == 0:
                event = await asyncio.wait_for(events.get(), 20)
                assert event.errors == ()
            await pass_time(STEP_SECONDS)
            await jobs.run(clock.now())
            while arrivals and arrivals[0] <= clock.now():
                del arrivals[0]
                await moto_server.send(url, 1)
        running.cancel()
        await asyncio.wait([running])
    await server.close()
    assert jobs.done == MESSAGES
    return jobs.started


async def _nothing(count: int) -> None:
    assert not count


@pytest.mark.parametrize("strategy", ["default", "accurate", "eager"])
async def test_read_anew_for_each_poll_it_starts_a_job_for_each_message(
    moto_server: SqsDouble, new_queue: Any, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", moto_server.url)
    started = await _started(moto_server, await new_queue(), strategy, {"refreshSeconds": "0"}, asked_before=7.0)
    assert started == MESSAGES


async def test_a_reading_of_some_seconds_ago_starts_jobs_for_messages_that_are_gone(
    moto_server: SqsDouble, new_queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in KEDA 2.20.2 on a queue of its own: 13 or 14 for 11."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", moto_server.url)
    started = await _started(moto_server, await new_queue(), "accurate", {}, asked_before=6.0)
    assert 12 <= started <= 16
