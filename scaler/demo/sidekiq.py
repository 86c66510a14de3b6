"""Fake Sidekiq processes, which write the same to Redis as real ones of a given version."""

import asyncio
import json
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from scaler.core.clock import Clock, sleep
from scaler.demo.ending import end

HEARTBEAT_TTL_SECONDS = 60
FETCH_SECONDS = 0.1
"""Real threads block in BRPOP; these poll."""
DEFAULT_JOB_SECONDS = 1.0
RETRY_SECONDS = 1.0


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class SidekiqClient:
    """Enqueues jobs like the client of a given version (sidekiq client.rb)."""

    def __init__(self, redis: Redis, clock: Clock, *, version: str = "8.1.7", prefix: str = "") -> None:
        """Write to `redis`, under `prefix` for redis-namespace."""
        self._redis: Any = redis  # redis-py's answers are annotated for its synchronous client too
        self._clock = clock
        self._number = _numbers(version)
        self._prefix = prefix

    async def push(self, queue: str, seconds: float, *, at: float | None = None) -> str:
        """Enqueue a job that takes `seconds`, or schedule it for Unix time `at`; return its jid."""
        job: dict[str, Any] = {
            "retry": True,
            "queue": queue,
            "args": [seconds],
            "class": "DemoJob",
            "jid": secrets.token_hex(12),
            "created_at": self._timestamp(),
        }
        if at is not None:
            await self._redis.zadd(f"{self._prefix}schedule", {json.dumps(job): at})
        else:
            await self.enqueue(job)
        return str(job["jid"])

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Put `job` into its queue."""
        payload = json.dumps({**job, "enqueued_at": self._timestamp()})
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.sadd(f"{self._prefix}queues", job["queue"])
            pipe.lpush(f"{self._prefix}queue:{job['queue']}", payload)
            await pipe.execute()

    def _timestamp(self) -> float:
        """Return the time in the format of jobs: from 8.0 on whole milliseconds."""
        now = self._clock.wall()
        return int(now * 1000) if self._number >= (8, 0) else now


@dataclass(frozen=True, slots=True)
class SidekiqOptions:
    """The options of a process, as in sidekiq.yml and on the command line."""

    queues: Mapping[str, int]
    """Names with weights."""
    version: str = "8.1.7"
    concurrency: int = 5
    hostname: str = "localhost"
    tag: str = "demo"
    labels: tuple[str, ...] = ()
    timeout_seconds: float = 25.0
    """Time for running jobs to end after TERM (`-t`)."""
    prefix: str = ""
    beat_seconds: float | None = None
    """Pause between beats, if it is not that of the version."""


class SidekiqProcess:
    """One process: beats, takes jobs, moves due jobs to their queues, can be quieted, stopped and killed.

    The first argument of a job is its running time in seconds. `quiet`, `stop` and `kill` are TSTP, TERM and SIGKILL.
    """

    def __init__(self, redis: Redis, clock: Clock, options: SidekiqOptions) -> None:
        """Prepare; `start` starts it."""
        self._redis: Any = redis  # redis-py's answers are annotated for its synchronous client too
        self._clock = clock
        self._options = options
        self._number = _numbers(options.version)
        self._prefix = options.prefix
        self._client = SidekiqClient(redis, clock, version=options.version, prefix=options.prefix)
        self.identity = f"{options.hostname}:{os.getpid()}:{secrets.token_hex(6)}"
        self._key = self._prefix + self.identity
        self._quiet = False
        self._info = ""
        self._jobs: dict[str, tuple[dict[str, Any], asyncio.Task[None]]] = {}  # thread → running job
        self._tasks: list[asyncio.Task[None]] = []
        self.interrupted = 0  # jobs that did not end in time and were put back

    @property
    def busy(self) -> int:
        """The number of running jobs."""
        return len(self._jobs)

    @property
    def beat_seconds(self) -> float:
        """Pause between beats (sidekiq launcher.rb)."""
        if self._options.beat_seconds is not None:
            return self._options.beat_seconds
        return 10.0 if self._number >= (7, 0) else 5.0

    async def start(self) -> None:
        """Send the first beat, and begin to work."""
        self._info = json.dumps(self._info_of())
        await self.beat()
        for step in (self._beats, self._fetches, self._polls):
            self._tasks.append(asyncio.get_running_loop().create_task(self._keep(step)))

    def quiet(self) -> None:
        """Take no more jobs; the next beat reports it."""
        self._quiet = True

    async def stop(self) -> None:
        """Take no more jobs, let running ones end in time, put back the others, and end.

        The hash of the heartbeat stays until it expires (sidekiq launcher.rb, `clear_heartbeat`).
        """
        self._quiet = True
        deadline: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def expire() -> None:
            deadline.cancel()

        timer = self._clock.call_at(self._clock.now() + self._options.timeout_seconds, expire)
        while self._jobs and not deadline.done():
            jobs = [task for _, task in self._jobs.values()]
            await asyncio.wait([deadline, *jobs], return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        unfinished = [work for work, _ in self._jobs.values()]
        self.interrupted += len(unfinished)
        await self.kill()
        async with self._redis.pipeline(transaction=False) as pipe:
            for work in unfinished:  # with their first `enqueued_at`, at the end from which jobs are taken
                pipe.rpush(f"{self._prefix}queue:{work['queue']}", work["payload"])
            pipe.srem(f"{self._prefix}processes", self.identity)
            pipe.unlink(self._work_key)
            await pipe.execute()

    async def kill(self) -> None:
        """End at once: running jobs are lost, and nothing is cleaned up."""
        tasks = [*self._tasks, *(task for _, task in self._jobs.values())]
        self._tasks, self._jobs = [], {}
        await end(tasks)

    async def beat(self) -> None:
        """Write the heartbeat: the running jobs, then the process (sidekiq launcher.rb)."""
        fields: dict[str, str | int | float] = {
            "info": self._info,
            "busy": self.busy,
            "beat": self._clock.wall(),
            "rtt_us": 100,
            "quiet": str(self._quiet).lower(),
            "rss": 30_000,
        }
        if self._number >= (8, 1, 2):
            fields["concurrency"] = self._options.concurrency
        async with self._redis.pipeline() as pipe:
            pipe.unlink(self._work_key)
            for thread, (work, _) in self._jobs.items():
                pipe.hset(self._work_key, thread, json.dumps(work))
            pipe.expire(self._work_key, HEARTBEAT_TTL_SECONDS)
            await pipe.execute()
        async with self._redis.pipeline() as pipe:
            pipe.sadd(f"{self._prefix}processes", self.identity)
            pipe.hset(self._key, mapping=fields)
            pipe.expire(self._key, HEARTBEAT_TTL_SECONDS)
            await pipe.execute()

    @property
    def _work_key(self) -> str:
        return f"{self._key}:{'work' if self._number >= (6, 5) else 'workers'}"

    def _info_of(self) -> dict[str, Any]:
        """Return `info`, whose keys depend on the version."""
        info: dict[str, Any] = {
            "hostname": self._options.hostname,
            "started_at": self._clock.wall(),
            "pid": os.getpid(),
            "tag": self._options.tag,
        }
        if self._number < (8, 1, 2):
            info["concurrency"] = self._options.concurrency
        if self._number >= (8, 0, 9):
            capsule = {
                "concurrency": self._options.concurrency,
                "mode": "weighted",
                "weights": dict(self._options.queues),
            }
            info["capsules"] = {"default": capsule}
        info["queues"] = list(self._options.queues)
        if self._number >= (7, 0, 2):
            info["weights"] = [dict(self._options.queues)]
        info |= {"labels": list(self._options.labels), "identity": self.identity}
        if self._number >= (7, 0, 2):
            info["version"] = self._options.version
        if self._number >= (7, 0, 3):
            info["embedded"] = False
        return info

    async def _keep(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat `step` for ever, also after errors of Redis, like every thread of a real process."""
        while True:
            try:
                return await step()
            except (RedisError, OSError):
                await sleep(self._clock, RETRY_SECONDS)

    async def _beats(self) -> None:
        while True:
            await sleep(self._clock, self.beat_seconds)
            await self.beat()

    async def _fetches(self) -> None:
        while not self._quiet:
            for queue in self._options.queues:
                if (free := self._options.concurrency - self.busy) <= 0 or self._quiet:
                    break
                for payload in await self._redis.rpop(f"{self._prefix}queue:{queue}", free) or []:
                    self._work(queue, payload.decode())
            await sleep(self._clock, FETCH_SECONDS)

    def _work(self, queue: str, payload: str) -> None:
        thread = secrets.token_hex(3)
        work = {"queue": queue, "payload": payload, "run_at": int(self._clock.wall())}
        arguments = json.loads(payload).get("args") or [DEFAULT_JOB_SECONDS]

        async def run() -> None:
            await sleep(self._clock, float(arguments[0]))
            self._jobs.pop(thread, None)

        self._jobs[thread] = (work, asyncio.get_running_loop().create_task(run()))

    async def _polls(self) -> None:
        """Move due jobs to their queues, as often as real processes do (sidekiq scheduled.rb)."""
        await sleep(self._clock, 10 + 5 * random.random())
        await self._cleanup()
        while not self._quiet:
            await self._promote()
            count = max(1, await self._redis.scard(f"{self._prefix}processes"))
            await sleep(self._clock, 5 * count * (random.random() + (0.5 if count < 10 else 0)))

    async def _promote(self) -> None:
        now = self._clock.wall()
        for key in (f"{self._prefix}retry", f"{self._prefix}schedule"):
            for payload in await self._redis.zrangebyscore(key, "-inf", now):
                if await self._redis.zrem(key, payload):
                    await self._client.enqueue(json.loads(payload))

    async def _cleanup(self) -> None:
        """Remove dead processes; from 6.5 on one process does it, once a minute."""
        lock = f"{self._prefix}process_cleanup"
        if self._number >= (6, 5) and not await self._redis.set(lock, 1, nx=True, ex=60):
            return
        for identity in await self._redis.smembers(f"{self._prefix}processes"):
            if not await self._redis.hexists(f"{self._prefix}{identity.decode()}", "info"):
                await self._redis.srem(f"{self._prefix}processes", identity)
