"""A real Sidekiq (Debian's `ruby-sidekiq` 6.4.1), judged by what the scaler says of it twice a second.

The three courses run at the same time, each in a database of its own, because Redis takes its time: a killed process
is a ghost only a minute after its last beat.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from redis.asyncio import Redis

from scaler.core.clock import SystemClock
from scaler.core.domain import Assessment
from scaler.demo.reported import Reported
from scaler.demo.sidekiq import SidekiqClient
from scaler.demo.valkey import Valkey
from scaler.sources.backends import Backends
from scaler.sources.base import NAMESPACE
from scaler.sources.sidekiq import SidekiqReader, SidekiqTrigger

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_sidekiq,
    pytest.mark.skipif(shutil.which("sidekiq") is None, reason="no Sidekiq here: apt-get install ruby-sidekiq"),
]

THREADS = 5
BEAT = 5.0
SLACK = 8.0
"""Boot, poll and scheduling of a busy machine."""
WINDOW = 3
"""How often the scaler is asked between two events, however busy the machine."""
WORKER = """
class DemoJob
  include Sidekiq::Worker
  def perform(seconds)
    sleep seconds
  end
end
"""


@dataclass
class Course:
    """What happened to one Redis, when (in seconds), and what was said of it until then and after."""

    valkey: Valkey
    folder: Path
    database: int
    metadata: dict[str, str] = field(default_factory=dict)
    said: list[Assessment] = field(default_factory=list)
    happened: dict[str, float] = field(default_factory=dict)
    said_until: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.url = f"{self.valkey.url.rpartition('/')[0]}/{self.database}"
        self.redis = Redis.from_url(self.url)
        self.jobs = SidekiqClient(self.redis, SystemClock(), version="6.4.1")
        fields = {"source": "sidekiq", "redisURL": self.url, "queues": "critical,default", **self.metadata}
        self.trigger = SidekiqTrigger.model_validate({**fields, NAMESPACE: "shop"})
        self.reader = Backends().hand(SidekiqReader)
        self.watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.watching.cancel()
        await asyncio.gather(self.watching, return_exceptions=True)
        await self.reader.close()
        await self.redis.aclose()

    async def _watch(self) -> None:
        while True:
            readings = Reported()
            await self.reader.read(self.trigger.places(), readings)
            self.said.append(self.trigger.assess(readings, time.time()))
            await asyncio.sleep(0.5)

    def start(self) -> None:
        """Start a real process."""
        (self.folder / "worker.rb").write_text(WORKER)
        queues = ["-q", "critical,2", "-q", "default"]
        self.process = subprocess.Popen(
            ["sidekiq", "-r", "./worker.rb", "-c", str(THREADS), "-t", "3", "-g", "shop", *queues],
            cwd=self.folder,
            env={**os.environ, "REDIS_URL": self.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.happens("started")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)
        self.happens(number.name)

    def happens(self, event: str) -> None:
        """Note the time of `event`, and how much was said before it."""
        self.happened[event], self.said_until[event] = time.monotonic(), len(self.said)

    async def until(self, event: str, condition: Callable[[Assessment], Any], seconds: float) -> None:
        """Wait until what is said fulfils `condition`, and note that as `event`."""
        async with asyncio.timeout(seconds):
            while not (self.said and condition(self.said[-1])):  # noqa: ASYNC110 - the world has no event
                await asyncio.sleep(0.1)
        self.happens(event)

    async def window(self, event: str) -> None:
        """Wait until enough was said after `event`."""
        async with asyncio.timeout(30):
            while len(self.said) < self.said_until[event] + 1 + WINDOW:  # noqa: ASYNC110 - the world has no event
                await asyncio.sleep(0.1)

    def between(self, first: str, last: str) -> list[Assessment]:
        """Return what was read and said after `first` and before `last`; one read was under way at `first`."""
        return self.said[self.said_until[first] + 1 : self.said_until[last]]

    def took(self, first: str, last: str) -> float:
        """Return the seconds from one event to another."""
        return self.happened[last] - self.happened[first]


def number(told: Assessment, name: str) -> float:
    """Return a component; those that are not told are 0."""
    return next((component.value for component in told.components if component.name == name), 0.0)


def counts(**expected: float) -> Callable[[Assessment], bool]:
    """Return whether components have these values; `_` stands for a space."""
    return lambda told: all(number(told, name.replace("_", " ")) == value for name, value in expected.items())


async def work(course: Course) -> None:
    """Long jobs run; the process is told to be quiet, then to end before they are done."""
    async with course:
        course.start()
        await course.until("up", counts(processes=1), 60)
        await course.window("up")
        course.happens("pushing")
        for queue in ("critical", "default", "default"):
            await course.jobs.push(queue, 600)
        course.happens("pushed")
        await course.until("busy", counts(busy_threads=3), 40)
        await course.window("busy")
        course.signal(signal.SIGTSTP)
        await course.until("quiet", counts(quiet_processes=1), 40)
        await course.window("quiet")
        course.signal(signal.SIGTERM)
        await course.until("ended", lambda told: number(told, "waiting in default") == 2, 40)
        await course.window("ended")
        course.happens("over")


async def kill(course: Course) -> None:
    """Long jobs run when the process is killed."""
    async with course:
        course.start()
        for _ in range(2):
            await course.jobs.push("default", 600)
        await course.until("busy", counts(busy_threads=2), 60)
        course.signal(signal.SIGKILL)
        await course.until("late", counts(late_processes=1), 60)
        await course.until("ghost", counts(ghost_processes=1), 60)
        await course.window("ghost")
        course.happens("over")


async def schedule(course: Course) -> None:
    """A job is scheduled while no process runs."""
    async with course:
        await asyncio.sleep(1.5)
        await course.jobs.push("default", 0.1, at=time.time() + 8)
        course.happens("scheduled")
        await course.until("awake", lambda told: told.active, 30)
        await asyncio.sleep(9)
        await course.window("awake")
        course.start()
        await course.until("up", counts(processes=1), 60)
        await course.until("asleep", lambda told: not told.active, 60)
        course.happens("over")


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Course]]:
    with Valkey() as valkey:

        def course(database: int, **metadata: str) -> Course:
            return Course(valkey, tmp_path_factory.mktemp("app"), database, metadata)

        made = {
            "work": course(1, tag="shop"),
            "kill": course(2, hostnameRegex="."),
            "schedule": course(3, scheduleLeadSeconds="5"),
        }

        async def run() -> None:
            await asyncio.gather(work(made["work"]), kill(made["kill"]), schedule(made["schedule"]))

        asyncio.run(run())
        yield made


def test_idle_process_is_capacity_and_asks_for_nothing(courses: dict[str, Course]) -> None:
    said = courses["work"].between("up", "pushing")
    assert said
    assert all(counts(processes=1, threads=THREADS, busy_threads=0)(told) for told in said)
    assert not any(told.active for told in said)
    assert {told.metrics[0].value for told in said} == {0.0}


def test_running_jobs_are_told_with_the_next_beat(courses: dict[str, Course]) -> None:
    course = courses["work"]
    assert course.took("pushed", "busy") < BEAT + SLACK
    said = course.between("busy", "SIGTSTP")
    assert said
    assert all(told.active and told.metrics[0].value == 3 / THREADS for told in said)


def test_quiet_process_is_no_capacity_and_holds(courses: dict[str, Course]) -> None:
    course = courses["work"]
    assert course.took("SIGTSTP", "quiet") < BEAT + SLACK
    said = course.between("quiet", "SIGTERM")
    assert said
    assert all(counts(processes=0, quiet_processes=1)(told) for told in said)
    assert {told.metrics[0].value for told in said} == {0.0}


def test_workload_is_active_from_the_first_beat_until_its_jobs_are_back_in_the_queue(
    courses: dict[str, Course],
) -> None:
    said = courses["work"].between("busy", "over")
    assert len(said) > 10
    assert all(told.active for told in said)
    assert counts(processes=0, waiting_in_default=2, waiting_in_critical=1)(said[-1])
    assert said[-1].metrics[0].value == 0.75


def test_killed_process_is_late_after_30_s_and_gone_after_60(courses: dict[str, Course]) -> None:
    course = courses["kill"]
    assert 30 - BEAT - 1 < course.took("SIGKILL", "late") < 30 + SLACK
    assert 60 - BEAT - 1 < course.took("SIGKILL", "ghost") < 60 + SLACK


def test_killed_process_holds_while_it_may_live(courses: dict[str, Course]) -> None:
    course = courses["kill"]
    until_late, until_gone = course.between("busy", "late"), course.between("late", "ghost")
    assert all(told.active for told in until_late[:-1] + until_gone[:-1])
    assert {told.metrics[0].value for told in until_late[:-1]} == {2 / THREADS}
    assert {told.metrics[0].value for told in until_gone[:-1]} == {0.0}
    after = course.between("ghost", "over")
    assert after
    assert not any(told.active for told in after)


def test_scheduled_job_wakes_in_time_and_stays_awake_until_it_is_done(courses: dict[str, Course]) -> None:
    course = courses["schedule"]
    assert not any(told.active for told in course.between("scheduled", "awake")[:-1])
    assert 3 - 1 < course.took("scheduled", "awake") < 8
    said = course.between("awake", "asleep")
    assert len(said) > WINDOW
    assert all(told.active for told in said[:-1])
    assert all(counts(due_jobs=1)(told) for told in course.between("awake", "started"))
    assert 1 < course.took("up", "asleep") < 25 + BEAT + SLACK
