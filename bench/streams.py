"""Part e, continued: what open streams cost, clients that come and go, and the end of the server under them."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc.aio

from bench.doubles import Backends, backends
from bench.processes import ServerProcess, serving
from bench.requests import STREAM, Trigger, fleet
from bench.wire import Wire
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

Row = dict[str, Any]


def _open(wire: Wire, triggers: Sequence[Trigger]) -> None:
    for trigger in triggers:
        wire.call(STREAM, trigger.requests.ref(), lambda _: None)


async def _until(server: ServerProcess, streams: int) -> None:
    """Wait until the server has so many streams open; it can only be asked."""
    while (await server.usage("house"))["streams"] != streams:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)


async def idle(doubles: Backends, streams: int, places: int, seconds: float, *, only: str = "") -> Row:
    """Keep `streams` open over `places` without work; `only` one source, or the mix of the fleet."""
    if only:  # four of ten places are of each of the two kinds
        triggers = [each for each in fleet(streams * 3, places * 3, doubles.doubles, orders=1) if each.source == only]
        kept = set(list(dict.fromkeys(each.place for each in triggers))[:places])
        triggers = [each for each in triggers if each.place in kept]
        triggers = (triggers * (streams // len(triggers) + 1))[:streams]
    else:
        triggers = list(fleet(streams, places, doubles.doubles, orders=1))
    async with serving("real", {"limits": {"requests_per_second": {"pages": 200}}}, doubles.env) as server:
        base = (await server.usage("collect"))["rss"]
        wire = await Wire.open(server.port)
        _open(wire, triggers)
        await asyncio.sleep(min(8.0, 2 * seconds))
        before, began = await server.usage("house"), time.perf_counter()
        await asyncio.sleep(seconds)
        after, took = await server.usage("house"), time.perf_counter() - began
        rss = (await server.usage("collect"))["rss"]
        wire.close()
    return {
        "places": only or "as in the fleet",
        "streams": after["streams"],
        "distinct places": after["places"],
        "core %": 100 * (after["cpu"] - before["cpu"]) / took,
        "RSS MiB": rss / 2**20,
        "kB per stream": (rss - base) / max(1, after["streams"]) / 1e3,
        "requests per s": (sum(after["requests"].values()) - sum(before["requests"].values())) / took,
        "longest block ms": 1e3 * after["block"],
    }


async def restarts(doubles: Backends, clients: int, streams: int) -> Row:
    """Let clients with open streams vanish one after the other; return what is left before and after."""
    triggers = fleet(streams, streams, doubles.doubles, orders=1)
    async with serving("real", env=doubles.env) as server:

        async def once() -> None:
            wire = await Wire.open(server.port)
            _open(wire, triggers)
            await _until(server, streams)
            wire.close()
            await _until(server, 0)

        for _ in range(max(3, clients // 5)):  # until the allocator has its arenas
            await once()
        first = await server.usage("collect") | await server.usage("house")
        for _ in range(clients):
            await once()
        last = await server.usage("collect") | await server.usage("house")
    names = ("tasks", "leases", "askers", "rss")
    row: Row = {"clients": clients, "streams of each": streams}
    for name in names:
        row |= {f"{name} before": first[name], f"{name} after": last[name]}
    return row | {"growth of memory %": 100 * (last["rss"] / first["rss"] - 1)}


async def end(doubles: Backends, streams: int) -> Row:
    """Send SIGTERM under open streams; return how they ended."""
    codes: list[str] = []
    async with (
        serving("real", env=doubles.env) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = ExternalScalerStub(channel)
        triggers = fleet(streams, min(streams, 200), doubles.doubles, orders=1)

        async def hear(trigger: Trigger) -> None:
            call = stub.StreamIsActive(pb.ScaledObjectRef.FromString(trigger.requests.ref()))
            try:
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError:
                pass  # its code is looked at below
            codes.append((await call.code()).name)

        tasks = [asyncio.create_task(hear(trigger)) for trigger in triggers]
        await _until(server, streams)
        began = time.perf_counter()
        exit_code = await server.stop()
        seconds = time.perf_counter() - began
        await asyncio.gather(*tasks)
    return {"streams": streams, "ended OK": codes.count("OK"), "exit code": exit_code, "seconds": seconds}


async def measure(streams: int, places: int, seconds: float, clients: int, streams_each: int) -> dict[str, list[Row]]:
    """Return the rows of all three."""
    async with backends(waiting=0) as doubles:
        return {
            "idle": [
                await idle(doubles, streams, places, seconds, only="sidekiq"),
                await idle(doubles, streams, places, seconds),
            ],
            "restarts": [await restarts(doubles, clients, streams_each)],
            "end": [await end(doubles, streams)],
        }
