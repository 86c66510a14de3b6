"""Part f: memory for each ScaledObject, place, stream and watched object, as the growth of the resident set."""

import asyncio
from typing import Any

from bench.doubles import Backends, backends
from bench.keda import Keda
from bench.processes import serving
from bench.requests import STREAM, fleet, requests_of
from bench.wire import Wire
from scaler.demo.flux import git_repository, kustomization
from scaler.demo.kubernetes import KubernetesDouble

Row = dict[str, Any]
AT_ONCE = 50


async def _grown(doubles: Backends, few: tuple[int, int], many: tuple[int, int], quiet_seconds: float) -> float:
    """Return by how many bytes memory grows from `few` ScaledObjects on places to `many`; one of each warms up."""
    async with serving("real", env=doubles.env) as server:
        wire = await Wire.open(server.port)

        async def ask(size: int, places: int) -> float:
            keda = Keda(wire)
            for number, trigger in enumerate(fleet(size, places, doubles.doubles, orders=1)):
                keda.chain(trigger)
                if number % AT_ONCE == 0:  # calls under way take memory too, which the allocator then keeps
                    await keda.quiet()
            await keda.quiet()
            await asyncio.sleep(quiet_seconds)
            return float((await server.usage("collect"))["rss"])

        before = await ask(*few)
        after = await ask(*many)
        wire.close()
    return after - before


async def _stream(doubles: Backends, streams: int, quiet_seconds: float) -> float:
    async with serving("real", env=doubles.env) as server:
        wire = await Wire.open(server.port)
        (trigger,) = fleet(1, 1, doubles.doubles, orders=1)

        async def opened(count: int) -> float:
            for _ in range(count):
                wire.call(STREAM, trigger.requests.ref(), lambda _: None)
            await asyncio.sleep(quiet_seconds)
            return float((await server.usage("collect"))["rss"])

        before = await opened(100)
        after = await opened(streams)
        wire.close()
    return after - before


async def _objects(doubles: Backends, objects: int, quiet_seconds: float) -> float:
    """Return by how much memory grows with Kustomizations of one shard that is watched."""
    api = KubernetesDouble()
    url = await api.start()
    api.put("gitrepositories", git_repository("main@sha1:1", 1.8e9))
    metadata = {"source": "flux", "controller": "kustomize-controller", "shard": "shard1"}
    requests = requests_of("flux-system", "shard1", metadata, "", orders=1)

    def add(start: int, count: int) -> None:
        for number in range(start, start + count):
            api.put("kustomizations", kustomization(f"app-{number}", "shard1", 1.8e9))

    async with serving("real", {"kubernetes": {"url": url}}, doubles.env) as server:
        wire = await Wire.open(server.port)
        add(0, 1_000)
        wire.call(STREAM, requests.ref(), lambda _: None)
        await asyncio.sleep(quiet_seconds)
        before = (await server.usage("collect"))["rss"]
        for start in range(1_000, 1_000 + objects, 500):
            add(start, 500)
            await asyncio.sleep(0.2)
        await asyncio.sleep(quiet_seconds)
        after = (await server.usage("collect"))["rss"]
        wire.close()
    await api.stop()
    return float(after - before)


async def measure(size: int, quiet_seconds: float = 3.0) -> list[Row]:
    """Return a row for each kind of thing; memory is looked at `quiet_seconds` after the last change."""
    async with backends() as doubles:
        grown = {
            "ScaledObject (on 50 places)": (await _grown(doubles, (100, 50), (size, 50), quiet_seconds), size - 100),
            "place (with its ScaledObject)": (
                await _grown(doubles, (100, 100), (size, size), quiet_seconds),
                size - 100,
            ),
            "stream": (await _stream(doubles, size, quiet_seconds), size),
            "watched Kubernetes object": (await _objects(doubles, size, quiet_seconds), size),
        }
    return [{"thing": thing, "kB": bytes_ / count / 1e3, "counted": count} for thing, (bytes_, count) in grown.items()]
