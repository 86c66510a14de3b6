"""Jobs as the stand-in starts them, poll by poll, and how many a reading that is not fresh starts too many.

Measured on KEDA 2.20.2 with a poll of 10 s and pods that take their message 2 to 5 s after their Job was made: a reading
up to 10 s old started 13 or 14 Jobs for 11 messages; one of at most 1 s, and KEDA's built-in scaler, 11.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from scaler.demo.clock import ManualClock
from scaler.keda.executor import Missing
from scaler.keda.findings import ManifestError
from scaler.keda.jobs import JobCounts
from scaler.keda.scalable import ScaledJob, ScalingStrategy, Trigger
from tests.keda.standin_jobs import JobEvent, JobStandIn

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXTERNAL = Trigger(type="external", metadata={"source": "sqs"})
Playing = Callable[..., Any]


@dataclass
class Queue:
    """Messages that arrive at their times, and Jobs that each take one 2 to 5 s after they were started."""

    chance: random.Random
    arrivals: list[float]
    to_take: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    started: int = 0

    def start(self, now: float, count: int) -> None:
        self.started += count
        self.to_take = sorted([*self.to_take, *(now + self.chance.uniform(2, 5) for _ in range(count))])

    def run_until(self, now: float) -> None:
        while self.to_take and self.to_take[0] <= now:
            at = self.to_take.pop(0)
            if sum(arrival <= at for arrival in self.arrivals) > len(self.taken):
                self.taken.append(at)
                self.ends.append(at + self.chance.uniform(0.5, 2))  # a Job without a message ends at once

    def waiting(self, at: float) -> int:
        return sum(arrival <= at for arrival in self.arrivals) - sum(taken <= at for taken in self.taken)

    def jobs(self, now: float) -> JobCounts:
        return JobCounts(len(self.to_take) + sum(end > now for end in self.ends), len(self.to_take))


@pytest.fixture
def playing(clock: ManualClock, scripted: Any) -> Playing:
    """Give a function that runs a stand-in for one ScaledJob, and yields the events that it tells."""
    scaler, channel = scripted
    scaler.targets = scaler.specs(q=1)

    @asynccontextmanager
    async def run(jobs: Callable[[], JobCounts], start: Callable[[int], None], **spec: Any) -> AsyncIterator[Any]:
        events: asyncio.Queue[JobEvent] = asyncio.Queue()

        async def start_jobs(count: int) -> None:
            start(count)

        scaled_job = ScaledJob(name="orders", polling_interval=10, **{"triggers": (EXTERNAL,), **spec})
        stand_in = JobStandIn(scaled_job, channel, start_jobs, jobs, on_event=events.put_nowait, clock=clock)
        running = asyncio.ensure_future(stand_in.run())
        yield events
        running.cancel()
        await asyncio.wait([running])

    return run


@pytest.fixture
def started(playing: Playing, scripted: Any, clock: ManualClock) -> Callable[[str, float, int, float], Awaitable[int]]:
    """Give a function that plays 11 messages, and returns how many Jobs were started for them.

    It takes the strategy, how old each reading is, a seed, and the seconds within which the messages arrive.
    """
    scaler, _ = scripted

    async def play(strategy: str, age: float, seed: int, seconds: float) -> int:
        chance, begin = random.Random(seed), clock.now()
        queue = Queue(chance, sorted(begin + chance.uniform(0, seconds) for _ in range(11)))

        def read() -> None:
            queue.run_until(clock.now())
            scaler.value = queue.waiting(clock.now() - age)

        scaler.before = read
        async with playing(
            lambda: queue.jobs(clock.now()),
            lambda count: queue.start(clock.now(), count),
            scaling_strategy=ScalingStrategy(strategy=strategy),
        ) as events:
            for _ in range(int(seconds / 10) + 6):
                await asyncio.wait_for(events.get(), 10)
                await clock.advance(10)
        assert len(queue.taken) == 11
        return queue.started

    return play


@pytest.mark.parametrize("strategy", ["default", "accurate", "eager"])
@pytest.mark.parametrize("age", [0, 1, 5])
async def test_a_fresh_reading_starts_a_job_for_each_message(started: Playing, age: float, strategy: str) -> None:
    for seed, seconds in enumerate((0, 20, 60)):
        assert await started(strategy, age, seed, seconds) == 11


@pytest.mark.parametrize("strategy", ["default", "accurate", "eager"])
async def test_an_old_reading_starts_jobs_for_messages_that_a_job_has_taken(started: Playing, strategy: str) -> None:
    """None of the strategies helps: the Jobs have ended, and only the reading still shows their messages."""
    counts = [await started(strategy, 7, seed, 60) for seed in range(5)]
    assert all(12 <= count <= 16 for count in counts)
    assert sorted(counts)[2] in {13, 14}
    assert await started(strategy, 9, 0, 0) == 22  # all at once: each one twice


def nothing(_count: int) -> None:
    pytest.fail("nothing is to be started")


async def test_a_poll_asks_once_for_specs_and_twice_for_what_fails(playing: Playing, scripted: Any) -> None:
    scaler, _ = scripted
    scaler.failing = {"GetMetrics": UNAVAILABLE}
    async with playing(JobCounts, nothing) as events:
        event = await asyncio.wait_for(events.get(), 10)
    assert scaler.calls == ["GetMetricSpec", "GetMetrics q", "GetMetrics q"]
    assert (event.started.reason, event.answers[0][0].value) == ("TriggerError", Missing.FAILED)
    assert event.errors == ("GetMetrics: UNAVAILABLE: no luck",) * 2


async def test_a_failing_get_metric_spec_goes_unnoticed(playing: Playing, scripted: Any) -> None:
    scaler, _ = scripted
    scaler.failing = {"GetMetricSpec": UNAVAILABLE}
    async with playing(JobCounts, nothing) as events:
        event = await asyncio.wait_for(events.get(), 10)
    assert scaler.calls == ["GetMetricSpec"]
    assert (event.started.reason, event.answers) == ("ScalerNotActive", ((),))


async def test_a_held_count_goes_on_starting_jobs(playing: Playing, scripted: Any, clock: ManualClock) -> None:
    """Answers from memory in an outage: the Jobs end, and each poll starts as many again."""
    scaler, _ = scripted
    scaler.value = 3
    counts: list[int] = []
    async with playing(JobCounts, counts.append) as events:
        for _ in range(4):
            await asyncio.wait_for(events.get(), 10)
            await clock.advance(10)
    assert counts[:4] == [3, 3, 3, 3]


async def test_a_paused_scaled_job_is_not_polled(scripted: Any, playing: Playing) -> None:
    scaler, _ = scripted
    async with playing(JobCounts, nothing, paused=True) as events:
        await asyncio.sleep(0)
    assert events.empty()
    assert scaler.calls == []


async def test_a_job_without_external_triggers_is_refused(scripted: Any, playing: Playing) -> None:
    with pytest.raises(ManifestError, match="orders has no trigger of type external or external-push"):
        async with playing(JobCounts, nothing, triggers=(Trigger(type="cron", metadata={}),)):
            pass
