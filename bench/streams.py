"""Part e, continued: what open streams cost, clients that come and go, and the end of the server under them."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio

from bench.doubles import Backends, backends
from bench.fleet import SETTINGS
from bench.listener import Listener
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.requests import STREAM, Trigger, fleet
from bench.spread import Row, spread
from bench.wire import Wire
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.sources import SOURCES

LATEST = 10
"""Intervals after which a stream that said nothing is given up."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: idle streams and what arrives under them, clients that restart, ends of the server."""

    streams: int = 2_000
    places: int = 500
    windows: int = 5
    window_seconds: float = 6.0
    arrivals: int = 20  # at places of each kind
    clients: int = 100
    streams_each: int = 200
    ends: int = 5


async def _until(server: ServerProcess, streams: int) -> None:
    """Wait until the server has so many streams open; it can only be asked."""
    while (await server.usage("house"))["streams"] != streams:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)


def _triggers(effort: Effort, doubles: Backends, only: str) -> Sequence[Trigger]:
    """Return a trigger for each stream; `only` of one source, or of the mix of the fleet."""
    if not only:
        return fleet(effort.streams, effort.places, doubles.doubles, orders=1)
    # Of ten places of a fleet at least two are of the kind, so five times as many have enough of them.
    found = [
        each for each in fleet(5 * effort.places, 5 * effort.places, doubles.doubles, orders=1) if each.source == only
    ]
    return [found[number % effort.places] for number in range(effort.streams)]


async def idle(doubles: Backends, effort: Effort, *, only: str = "") -> tuple[Row, list[Row]]:
    """Keep streams open over places without work, then let work arrive at some; return the row and its windows."""
    triggers = _triggers(effort, doubles, only)
    async with serving("real", SETTINGS, doubles.env) as server:
        base = (await server.usage("collect"))["rss"]
        wire = await Wire.open(server.port)
        listener = Listener(wire)
        for trigger in triggers:
            listener.open(trigger.place, trigger.requests.ref())
        await _until(server, len(triggers))
        await asyncio.sleep(effort.window_seconds)
        windows = [await _window(server, effort.window_seconds) for _ in range(effort.windows)]
        held = await server.usage("collect") | await server.usage("house")
        late, silent = await _lateness(doubles, effort, listener, triggers)
        broken = listener.broken
        wire.close()
    heard = sum(map(len, listener.latencies.values()))
    row = {
        "places": only or "as in the fleet",
        "streams": held["streams"],
        "distinct places": held["places"],
        "runs": len(windows),
        "core %": spread(each["core %"] for each in windows),
        "RSS MB": held["rss"] / 1e6,
        "kB per stream": (held["rss"] - base) / len(triggers) / 1e3,
        "requests per s": spread(each["requests per s"] for each in windows)["median"],
        "longest block ms": max(each["longest block ms"] for each in windows),
        "heard": heard,
        "silent or broken": silent + broken,
        "latest, intervals": late,
    }
    return row, [{"places": row["places"], **each} for each in windows]


async def _window(server: ServerProcess, seconds: float) -> Row:
    asked, before = await server.usage("house"), await server.usage()
    await asyncio.sleep(seconds)
    after, told = await server.usage(), await server.usage("house")
    took = after["at"] - before["at"]
    return {
        "core %": 100 * (after["cpu"] - before["cpu"]) / took,
        "requests per s": (sum(told["requests"].values()) - sum(asked["requests"].values())) / took,
        "longest block ms": 1e3 * after["block"],
        "longest delay ms": 1e3 * after["delay"],
    }


async def _lateness(
    doubles: Backends, effort: Effort, listener: Listener, triggers: Sequence[Trigger]
) -> tuple[float, int]:
    """Let work arrive at some places of each kind at random times.

    Return when the latest of all streams on them said `true`, in units of its trigger's `idleRefreshSeconds`, and how
    many said nothing.
    """
    places = {trigger.place: trigger.source for trigger in triggers}
    intervals = {kind: SOURCES[kind].trigger.model_fields["idle_refresh_seconds"].default for kind in places.values()}
    chosen: list[str] = []
    for kind in intervals:
        of_kind = [place for place, source in places.items() if source == kind]
        chosen += random.sample(of_kind, min(effort.arrivals, len(of_kind)))

    async def arrive(place: str) -> None:
        await asyncio.sleep(random.random() * effort.window_seconds)  # noqa: S311 - not a secret
        listener.arrives(place)
        await doubles.arrive(place)

    await asyncio.gather(*map(arrive, chosen))
    silent = await listener.all_heard(LATEST * max(intervals.values()))
    late = [max(found) / intervals[places[str(place)]] for place, found in listener.latencies.items()]
    return max(late, default=LATEST), silent


async def restarts(doubles: Backends, clients: int, streams: int) -> Row:
    """Let clients with open streams vanish one after the other; return what is left before and after."""
    triggers = fleet(streams, streams, doubles.doubles, orders=1)
    async with serving("real", SETTINGS, doubles.env) as server:

        async def once() -> None:
            wire = await Wire.open(server.port)
            for trigger in triggers:
                wire.call(STREAM, trigger.requests.ref(), lambda _: None)
            await _until(server, streams)
            wire.close()
            await _until(server, 0)

        for _ in range(max(3, clients // 5)):  # until the allocator has its arenas
            await once()
        first = await _settled(server)
        for _ in range(clients):
            await once()
        last = await _settled(server)
    names = ("tasks", "leases", "askers", "RSS MB")
    row: Row = {"clients": clients, "streams of each": streams}
    for name in names:
        row |= {f"{name} before": first[name], f"{name} after": last[name]}
    return row | {"growth of memory %": 100 * (last["RSS MB"] / first["RSS MB"] - 1)}


async def _settled(server: ServerProcess) -> Row:
    """Return what the server holds, without the tasks of the reads that happen to be under way."""
    tasks = []
    for _ in range(20):
        tasks.append((await server.usage())["tasks"])
        await asyncio.sleep(0.05)
    found = await server.usage("collect") | await server.usage("house")
    return {**found, "tasks": min(tasks), "RSS MB": found["rss"] / 1e6}


async def _end(doubles: Backends, streams: int) -> Row:
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


async def ends(doubles: Backends, streams: int, runs: int) -> Row:
    """End servers under open streams; return how all of the streams ended, and the exit code that was worst."""
    found = [await _end(doubles, streams) for _ in range(runs)]
    return {
        "streams": streams,
        "runs": runs,
        "streams in all": streams * runs,
        "ended OK": sum(each["ended OK"] for each in found),
        "exit code": max((each["exit code"] for each in found), key=abs),
        "seconds": spread(each["seconds"] for each in found),
    }


async def measure(effort: Effort) -> Found:
    """Return the rows of all three."""
    rows, windows = [], []
    for only in ("sidekiq", ""):
        async with backends(waiting=0) as doubles:  # anew, as work stays where it has arrived
            row, found = await idle(doubles, effort, only=only)
        rows.append(row)
        windows += found
    async with backends(waiting=0) as doubles:
        gone = await restarts(doubles, effort.clients, effort.streams_each)
        end = await ends(doubles, effort.streams, effort.ends)
    return Found({"idle": rows, "restarts": [gone], "end": [end]}, {"idle": windows})
