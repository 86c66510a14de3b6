"""Part e: from the moment that work arrives to `true` on an open stream, beside KEDA's poll of the same queue."""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from bench import costs
from bench.doubles import Backends, backends
from bench.keda import POLL_SECONDS
from bench.listener import Listener
from bench.processes import serving
from bench.report import Found
from bench.requests import requests_of
from bench.rival import polled
from bench.spread import Row, percentile
from bench.wire import Wire
from scaler.demo.flux import git_repository, kustomization
from scaler.demo.kubernetes import KubernetesDouble
from scaler.sources.sqs.prices import CostSettings

Act = Callable[[int], Awaitable[object]]
LONGEST_SECONDS = 10.0
START_SECONDS = 5.0
"""Over which the ScaledObjects that are polled come."""


async def _nothing(_: int) -> None:
    """Leave the work where it is: a queue that is used once need not be emptied."""


@dataclass(frozen=True)
class Way:
    """One way to wake: a trigger for each queue, and what lets work arrive at the queue of that number and go again."""

    name: str
    target_seconds: float
    triggers: Sequence[Mapping[str, str]]
    arrive: Act
    leave: Act = _nothing
    settings: Mapping[str, Any] = field(default_factory=dict)


async def _woken(way: Way, doubles: Backends, wakes: int, poll_seconds: int) -> tuple[Row, Row]:
    """Let work arrive until there were `wakes`: the first time while KEDA polls the same queues, then without it."""
    async with (
        serving("real", way.settings, doubles.env) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        wire = await Wire.open(server.port)
        listener = Listener(wire)
        for number, metadata in enumerate(way.triggers):
            listener.open(number, requests_of("shop", f"pushed-{number}", metadata, "", orders=1).ref())
        await asyncio.sleep(2.0)  # until every queue is seen empty
        each = wakes // len(way.triggers)
        waits = await _beside_polls(way, listener, channel, each, poll_seconds)
        for _ in range(each - 1):
            await asyncio.gather(*(way.leave(number) for number in range(len(way.triggers))))
            await asyncio.sleep(0.7)
            await asyncio.gather(*(_arrive(way, listener, number) for number in range(len(way.triggers))))
            await listener.all_heard(LONGEST_SECONDS)
        missing = await listener.all_heard(LONGEST_SECONDS)
        if missing or listener.broken:
            raise RuntimeError(f"{way.name}: {missing} streams said nothing, {listener.broken} ended")
        wire.close()
    pushed = [seconds for found in listener.latencies.values() for seconds in found]
    return _row(way, pushed, waits), {"way": way.name, "pushed s": pushed, "polled s": waits}


async def _arrive(way: Way, listener: Listener, number: int) -> None:
    await asyncio.sleep(random.random())  # noqa: S311 - not a secret
    listener.arrives(number)
    await way.arrive(number)


async def _beside_polls(
    way: Way, listener: Listener, channel: grpc.aio.Channel, each: int, poll_seconds: int
) -> list[float]:
    """Let work arrive at each queue while `each` ScaledObjects on it are polled; return after how long they woke.

    Each began to be polled at a random time within the interval before the arrival.
    """
    loop = asyncio.get_running_loop()
    waits: list[float] = []

    async def one(number: int, metadata: Mapping[str, str]) -> None:
        early = [random.random() * poll_seconds for _ in range(each)]  # noqa: S311 - not a secret
        at = loop.time() + number / len(way.triggers) * START_SECONDS + max(early)

        async def rival(name: str, seconds: float) -> float:
            await asyncio.sleep(at - seconds - loop.time())
            async with asyncio.timeout(3 * poll_seconds):
                return await polled(channel, name, metadata, poll_seconds)

        rivals = [asyncio.create_task(rival(f"polled-{number}-{n}", seconds)) for n, seconds in enumerate(early)]
        await asyncio.sleep(at - loop.time())
        arrived = time.perf_counter()
        listener.arrives(number)
        await way.arrive(number)
        waits.extend([woken - arrived for woken in await asyncio.gather(*rivals)])

    async with asyncio.TaskGroup() as queues:
        for number, metadata in enumerate(way.triggers):
            queues.create_task(one(number, metadata))
    if min(waits) < 0:
        raise RuntimeError(f"{way.name}: KEDA saw work before it arrived")
    return waits


def _row(way: Way, pushed: Sequence[float], waits: Sequence[float]) -> Row:
    return {
        "way": way.name,
        "wake-ups": len(pushed),
        "median s": statistics.median(pushed),
        "p99 s": percentile(pushed, 0.99),
        "target s": way.target_seconds,
        "KEDA's poll median s": statistics.median(waits),
        "KEDA's poll p99 s": percentile(waits, 0.99),
        "times faster": statistics.median(waits) / statistics.median(pushed),
    }


async def _sidekiq(doubles: Backends, client: Any, wakes: int, *, tracking: bool) -> Way:
    """Push a job to each queue; without `tracking` the scaler's user may not ask for it."""
    user = "tracking" if tracking else "polled"
    rights = ("+@all",) if tracking else ("+@all", "-client|tracking")
    await client.execute_command("ACL", "SETUSER", user, "on", ">bench", "~*", "&*", *rights)
    url = doubles.valkey.url.replace("://", f"://{user}:bench@")
    return Way(
        f"Sidekiq, {user}",
        0.05 if tracking else 0.5,
        [
            {"source": "sidekiq", "redisURL": url, "queues": f"{user}-{number}", "settleSeconds": "0"}
            for number in range(wakes)
        ],
        lambda number: client.lpush(f"queue:{user}-{number}", "{}"),
    )


def _sqs(doubles: Backends, wakes: int) -> Way:
    """Let a message arrive at each queue; those of one region alone would be at the limit of 200 requests a second."""
    metadata = {"source": "sqs", "idleRefreshSeconds": "1", "refreshSeconds": "1"}

    async def arrive(number: int) -> None:
        doubles.busy.add(f"wake-{number}")

    triggers = [
        {**metadata, "queueURL": f"wake-{number}", "awsRegion": ("eu-west-1", "eu-central-1")[number % 2]}
        for number in range(wakes)
    ]
    return Way("SQS, idleRefreshSeconds 1", 1.3, triggers, arrive)


def _flux(api: KubernetesDouble, url: str, shards: int) -> Way:
    """Let a Kustomization that is never reconciled appear in each shard."""
    api.put("gitrepositories", git_repository("main@sha1:1", time.time()))

    async def arrive(number: int) -> None:
        api.put("kustomizations", kustomization(f"app-{number}", f"shard{number}", time.time()))

    async def leave(number: int) -> None:
        api.delete("kustomizations", "apps", f"app-{number}")

    triggers = [
        {"source": "flux", "controller": "kustomize-controller", "shard": f"shard{number}"} for number in range(shards)
    ]
    return Way("Flux, object pending", 0.5, triggers, arrive, leave, {"kubernetes": {"url": url}})


async def measure(wakes: int = 200, shards: int = 20, poll_seconds: int = int(POLL_SECONDS)) -> Found:
    """Return a row for each way to wake, with the rival at `poll_seconds`."""
    api = KubernetesDouble()
    async with backends(waiting=0) as doubles:
        client: Any = doubles.valkey.client()  # redis-py's answers are annotated for its synchronous client too
        ways = [
            await _sidekiq(doubles, client, wakes, tracking=False),
            await _sidekiq(doubles, client, wakes, tracking=True),
            _sqs(doubles, wakes),
            _flux(api, await api.start(), min(shards, wakes)),
        ]
        found = [await _woken(way, doubles, wakes, poll_seconds) for way in ways]
        await client.aclose()
    await api.stop()
    tables = {"wake": [row for row, _ in found], "idle cost": costs.idle_table(CostSettings())}
    return Found(tables, {"wake": [each for _, each in found]})
