"""Parts b and d: a fleet as KEDA polls it, beside an empty handler at the same calls, and what the backends are asked."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench import steady
from bench.doubles import Backends, backends
from bench.keda import Keda
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.requests import Trigger, fleet
from bench.spread import Row, percentile
from bench.wire import Wire
from scaler.store.due_times import REFRESH_JITTER

PLACES = 500
SETTINGS = {
    # All pages of the bench are one backend, which 100 controllers are not.
    "limits": {"requests_per_second": {"pages": 200}},
    # No stream ends by itself before the last round.
    "connection_age_seconds": 3_600,
}
AT_ONCE = 50
"""ScaledObjects that are polled at a time while a server gets to know its fleet."""
OPEN_SECONDS = 60.0


@dataclass(frozen=True)
class Effort:
    """How much is measured. A round is a whole number of mean refresh intervals (10 s, 5 s): it sees each as often."""

    sizes: Sequence[int] = (100, 1_000, 10_000)
    rounds: int = 5
    seconds: float = 10 * (1 - REFRESH_JITTER / 2)
    settle_seconds: float = 8.0


async def measure(effort: Effort) -> Found:
    """Return what each size costs, how that grows, and what follows from it."""
    rounds: list[Row] = []
    async with backends() as doubles:
        await doubles.fill(PLACES)
        for size in effort.sizes:
            rounds += await _rounds(size, effort, doubles)
    return Found(steady.tables(rounds), {"fleet": rounds})


@dataclass
class _Side:
    """One of both servers, with the KEDA that asks it."""

    kind: str
    server: ServerProcess
    keda: Keda


async def _rounds(size: int, effort: Effort, doubles: Backends) -> list[Row]:
    """Let both servers take turns.

    The one whose turn it is not is stopped, so that it takes nothing from the core that they share. That is sound for
    pauses of a round: a connection is given up after 20 s without an answer to a keepalive and a place after 100 s
    without a question, a reading is served for 60 s while the read that was under way fails, and what fell due
    meanwhile is read while the next round settles.
    """
    triggers = fleet(size, min(size, PLACES), doubles.doubles)
    async with _both(triggers, doubles) as sides:
        found = []
        for number in range(effort.rounds):
            for side in reversed(sides) if number % 2 else sides:
                side.server.resume()
                row = await _round(side, triggers, effort, doubles, seed=number)
                side.server.pause()
                found.append({"ScaledObjects": size, "round": number, "server": side.kind, **row})
        for side in sides:
            side.server.resume()
            rss = (await side.server.usage("collect"))["rss"] / 1e6
            found = [each | ({"RSS MB": rss} if each["server"] == side.kind else {}) for each in found]
    return found


@asynccontextmanager
async def _both(triggers: Sequence[Trigger], doubles: Backends) -> AsyncIterator[list[_Side]]:
    """Start the scaler and the floor; each knows the fleet, has a third of it on streams, and is paused."""
    async with AsyncExitStack() as stack:
        sides = []
        for kind in ("real", "empty"):  # in the order of their first turns, as the first of them waits for the other
            server = await stack.enter_async_context(serving(kind, SETTINGS, doubles.env))
            wire = await Wire.open(server.port)
            stack.callback(wire.close)
            keda = Keda(wire)
            await keda.each_once(triggers, AT_ONCE)
            for trigger in triggers[::3]:
                keda.listen(trigger)
            async with asyncio.timeout(OPEN_SECONDS):  # work waits everywhere, so each says `true`
                while keda.streams_heard < len(triggers[::3]):  # noqa: ASYNC110 - before the measurement
                    await asyncio.sleep(0.05)
            server.pause()
            sides.append(_Side(kind, server, keda))
        yield sides


async def _round(side: _Side, triggers: Sequence[Trigger], effort: Effort, doubles: Backends, seed: int) -> Row:
    """Poll and sync each on its own time, and look at a part of it."""
    server, keda = side.server, side.keda
    seconds = effort.settle_seconds + effort.seconds
    polling = asyncio.create_task(keda.run(triggers, seconds + 0.5, seed))  # somewhat longer than it is looked at
    await asyncio.sleep(effort.settle_seconds)
    asked, sent = await server.usage("house"), doubles.sqs.requests
    before, settling = await server.usage(), keda.so_far()
    await asyncio.sleep(effort.seconds)
    after, measured = await server.usage(), keda.so_far()
    told, sent = await server.usage("house"), doubles.sqs.requests - sent
    await polling
    ending = keda.so_far()
    took, cpu = after["at"] - before["at"], after["cpu"] - before["cpu"]
    latencies = measured.latencies or [math.inf]  # of a server that is drowned
    requests = sum(told.get("requests", {}).values()) - sum(asked.get("requests", {}).values())
    return {
        "asked RPC/s": 3 * measured.chains / took,
        "RPC/s": len(measured.latencies) / took,
        "failed": settling.failed + measured.failed + ending.failed,
        "broken streams": settling.broken_streams + measured.broken_streams + ending.broken_streams,
        "streams": told.get("streams", 0),
        "places": told.get("places", 0),
        "core %": 100 * cpu / took,
        "µs per RPC": 1e6 * cpu / len(latencies),
        "p50 ms": 1e3 * percentile(latencies, 0.5),
        "p99 ms": 1e3 * percentile(latencies, 0.99),
        "longest block ms": 1e3 * after["block"],
        "longest delay ms": 1e3 * after["delay"],
        "upstream per min": requests * 60 / took,
        "SQS per min": sent * 60 / took,
    }
