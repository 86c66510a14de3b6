"""Part e: from the moment that work arrives to `true` on an open stream."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bench.doubles import Backends, backends, sqs_answer
from bench.keda import POLL_SECONDS
from bench.processes import serving
from bench.requests import STREAM, requests_of
from bench.rpc import percentile
from bench.wire import Wire
from scaler.demo.flux import git_repository, kustomization
from scaler.demo.kubernetes import KubernetesDouble

Row = dict[str, Any]
Act = Callable[[int], Awaitable[object]]
LONGEST_SECONDS = 30.0


class Listener:
    """Open streams, and when the first `true` after an arrival came."""

    def __init__(self, wire: Wire, triggers: Sequence[Mapping[str, str]]) -> None:
        """Open a stream for each of `triggers`."""
        self._arrived: dict[int, float] = {}
        self.latencies: list[float] = []
        self.heard = asyncio.Event()
        self.broken = 0
        for number, metadata in enumerate(triggers):
            request = requests_of("shop", f"workload-{number}", metadata, "", orders=1).ref()
            wire.call(STREAM, request, self._ended, lambda number=number: self._pushed(number))  # type: ignore[misc]

    def _ended(self, _: bytes | None) -> None:
        self.broken += 1

    def _pushed(self, number: int) -> None:
        arrived = self._arrived.pop(number, None)
        if arrived is not None:
            self.latencies.append(time.perf_counter() - arrived)
            self.heard.set()

    async def wakes(self, numbers: Sequence[int], arrive: Act, leave: Act, spread_seconds: float) -> None:
        """Let work arrive at each of `numbers` at a random time, wait until all are heard of, and take it away."""

        async def one(number: int) -> None:
            await asyncio.sleep(random.random() * spread_seconds)  # noqa: S311 - not a secret
            self._arrived[number] = time.perf_counter()
            await arrive(number)

        await asyncio.gather(*map(one, numbers))
        async with asyncio.timeout(LONGEST_SECONDS):
            while self._arrived:
                self.heard.clear()
                await self.heard.wait()
        for number in numbers:
            await leave(number)


def _row(way: str, target: float, listener: Listener) -> Row:
    if listener.broken:
        raise RuntimeError(f"{way}: {listener.broken} streams ended")
    return {
        "way": way,
        "wake-ups": len(listener.latencies),
        "median s": statistics.median(listener.latencies),
        "p99 s": percentile(listener.latencies, 0.99),
        "target s": target,
    }


def rival() -> Row:
    """Return the wait for KEDA's poll, by arithmetic: arrivals are uniform over the interval."""
    return {
        "way": "KEDA's polling (computed)", "wake-ups": 0,
        "median s": POLL_SECONDS / 2, "p99 s": 0.99 * POLL_SECONDS, "target s": None,
    }  # fmt: skip


async def sidekiq(doubles: Backends, wakes: int, *, tracking: bool) -> Row:
    """Push one job to each of `wakes` queues; without `tracking` the scaler's user may not ask for it."""
    client: Any = doubles.valkey.client()  # redis-py's answers are annotated for its synchronous client too
    user = "tracked" if tracking else "polled"
    rights = ("+@all",) if tracking else ("+@all", "-client|tracking")
    await client.execute_command("ACL", "SETUSER", user, "on", ">bench", "~*", "&*", *rights)
    url = doubles.valkey.url.replace("://", f"://{user}:bench@")
    triggers = [{"source": "sidekiq", "redisURL": url, "queues": f"wake-{number}"} for number in range(wakes)]
    async with serving("real", env=doubles.env) as server:
        wire = await Wire.open(server.port)
        listener = Listener(wire, triggers)
        await asyncio.sleep(2.0)
        await listener.wakes(
            range(wakes),
            lambda number: client.lpush(f"queue:wake-{number}", "{}"),
            lambda number: client.delete(f"queue:wake-{number}"),
            wakes / 25,
        )
        row = _row(f"Sidekiq, {'tracking' if tracking else 'polled'}", 0.05 if tracking else 0.5, listener)
        wire.close()
    await client.aclose()
    return row


async def sqs(doubles: Backends, wakes: int, queues: int = 100) -> Row:
    """Let a message arrive at each of `queues`, until there were `wakes`."""
    queues = min(queues, wakes)
    waiting: set[str] = set()
    full, empty = sqs_answer(1), sqs_answer(0)
    before, doubles.sqs.answer = (
        doubles.sqs.answer,
        lambda body: full if json.loads(body)["QueueUrl"] in waiting else empty,
    )
    metadata = {"source": "sqs", "awsRegion": "eu-west-1", "idleRefreshSeconds": "1", "refreshSeconds": "1"}
    triggers = [{**metadata, "queueURL": f"wake-{number}"} for number in range(queues)]

    async def arrive(number: int) -> None:
        waiting.add(f"wake-{number}")

    async def leave(number: int) -> None:
        waiting.discard(f"wake-{number}")

    async with serving("real", env=doubles.env) as server:
        wire = await Wire.open(server.port)
        listener = Listener(wire, triggers)
        for _ in range(-(-wakes // queues)):
            await asyncio.sleep(3.0)  # until all are seen inactive
            await listener.wakes(range(queues), arrive, leave, 3.0)
        row = _row("SQS, idleRefreshSeconds 1", 1.3, listener)
        wire.close()
    doubles.sqs.answer = before
    return row


async def flux(doubles: Backends, wakes: int, shards: int = 20) -> Row:
    """Let a Kustomization that was never reconciled appear in each of `shards`, until there were `wakes`."""
    shards = min(shards, wakes)
    api = KubernetesDouble()
    url = await api.start()
    api.put("gitrepositories", git_repository("main@sha1:1", time.time()))
    triggers = [
        {"source": "flux", "controller": "kustomize-controller", "shard": f"shard{number}"} for number in range(shards)
    ]

    async def arrive(number: int) -> None:
        api.put("kustomizations", kustomization(f"app-{number}", f"shard{number}", time.time()))

    async def leave(number: int) -> None:
        api.delete("kustomizations", "apps", f"app-{number}")

    async with serving("real", {"kubernetes": {"url": url}}, doubles.env) as server:
        wire = await Wire.open(server.port)
        listener = Listener(wire, triggers)
        await asyncio.sleep(2.0)
        for _ in range(-(-wakes // shards)):
            await listener.wakes(range(shards), arrive, leave, 1.0)
            await asyncio.sleep(0.7)
        row = _row("Flux, object pending", 0.5, listener)
        wire.close()
    await api.stop()
    return row


async def measure(wakes: int = 200) -> list[Row]:
    """Return a row for each way to wake, and one for the rival."""
    async with backends(waiting=0) as doubles:
        return [
            await sidekiq(doubles, wakes, tracking=False),
            await sidekiq(doubles, wakes, tracking=True),
            await sqs(doubles, wakes),
            await flux(doubles, wakes),
            rival(),
        ]
