"""Parts b, c and d: a fleet as KEDA polls it, the storm after KEDA's restart, and what the backends are asked."""

import time
from collections.abc import Sequence
from typing import Any

from bench.doubles import Backends, backends
from bench.keda import POLL_SECONDS, SYNC_SECONDS, Keda
from bench.processes import ServerProcess, serving
from bench.requests import Trigger, fleet
from bench.rpc import percentile
from bench.wire import Wire

PLACES = 500
SETTINGS = {"limits": {"requests_per_second": {"pages": 200}}}
"""All pages of the bench are one backend, which 100 controllers are not."""
Row = dict[str, Any]


async def measure(sizes: Sequence[int], seconds: float) -> tuple[list[Row], list[Row]]:
    """Return the rows of the storm and of the steady fleet, for each size."""
    storms, steady = [], []
    async with backends() as doubles:
        for size in sizes:
            async with serving("real", SETTINGS, doubles.env) as server:
                base = (await server.usage("collect"))["rss"]
                triggers = fleet(size, min(size, PLACES), doubles.doubles)
                storms.append(await _storm(server, triggers))
                steady.append(await _steady(server, triggers, seconds, doubles) | await _memory(server, base, size))
    return storms, steady


async def _storm(server: ServerProcess, triggers: Sequence[Trigger]) -> Row:
    """Poll all at once, with no reading known."""
    wire = await Wire.open(server.port)
    keda, before, began = Keda(wire), await server.usage(), time.perf_counter()
    for trigger in triggers:
        keda.chain(trigger)
    await keda.quiet()
    seconds, after = time.perf_counter() - began, await server.usage()
    wire.close()
    return {
        "ScaledObjects": len(triggers),
        "seconds": seconds,
        "RPCs": keda.outcome.calls,
        "failed": keda.outcome.failed,
        "CPU s": after["cpu"] - before["cpu"],
        "p50 ms": 1e3 * percentile(keda.outcome.latencies, 0.5),
        "p99 ms": 1e3 * percentile(keda.outcome.latencies, 0.99),
        "longest block ms": 1e3 * after["block"],
    }


async def _steady(server: ServerProcess, triggers: Sequence[Trigger], seconds: float, doubles: Backends) -> Row:
    """Poll and sync each on its own time; a third of them with a stream."""
    wire = await Wire.open(server.port)
    keda = Keda(wire)
    for trigger in triggers[::3]:
        keda.listen(trigger)
    await keda.run(triggers, min(5.0, seconds))  # until the streams are open and all is warm
    keda.outcome.latencies.clear()
    before, sent, began = await server.usage("house"), doubles.sqs.requests, time.perf_counter()
    await keda.run(triggers, seconds)
    after, took = await server.usage("house"), time.perf_counter() - began
    wire.close()
    per_minute = 60 / took
    requests = sum(after["requests"].values()) - sum(before["requests"].values())
    return {
        "ScaledObjects": len(triggers),
        "places": after["places"],
        "RPC/s": len(keda.outcome.latencies) / took,
        "failed": keda.outcome.failed + keda.outcome.broken_streams,
        "streams": after["streams"],
        "core %": 100 * (after["cpu"] - before["cpu"]) / took,
        "µs per RPC": 1e6 * (after["cpu"] - before["cpu"]) / max(1, len(keda.outcome.latencies)),
        "p50 ms": 1e3 * percentile(keda.outcome.latencies, 0.5),
        "p99 ms": 1e3 * percentile(keda.outcome.latencies, 0.99),
        "longest block ms": 1e3 * after["block"],
        "upstream per min": requests * per_minute,
        "SQS per min": (doubles.sqs.requests - sent) * per_minute,
        "built-in per min": len(triggers) * (60 / POLL_SECONDS + 60 / SYNC_SECONDS),
    }


async def _memory(server: ServerProcess, base: float, size: int) -> Row:
    after = (await server.usage("collect"))["rss"]
    return {"RSS MiB": after / 2**20, "above the start, kB per ScaledObject": (after - base) / size / 1e3}
