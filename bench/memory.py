"""Part f: memory for each ScaledObject, place, stream and watched object, as the growth of the resident set."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.doubles import Backends, backends
from bench.fleet import AT_ONCE, SETTINGS
from bench.keda import Keda
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.requests import STREAM, fleet, requests_of
from bench.spread import Row, spread
from bench.wire import Wire
from scaler.demo.flux import git_repository, kustomization
from scaler.demo.kubernetes import KubernetesDouble

Measured = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Effort:
    """How many things of each kind come to the first of them, how often, and how long memory is let settle."""

    scaled_objects: int = 10_000
    on_places: int = 500
    others: int = 2_000
    runs: int = 5
    quiet_seconds: float = 2.0


async def _held(server: ServerProcess, effort: Effort) -> float:
    """Return the resident set in bytes, without garbage."""
    await asyncio.sleep(effort.quiet_seconds)
    return float((await server.usage("collect"))["rss"])


async def _grown(doubles: Backends, few: tuple[int, int], many: tuple[int, int], effort: Effort) -> float:
    """Return by how many bytes memory grows from `few` ScaledObjects on places to `many`, without any stream.

    With `few` as many calls are under way as later: what grpc, its threads and the allocator keep for them does not
    count, as it does not grow with the fleet.
    """
    async with serving("real", SETTINGS, doubles.env) as server:
        wire = await Wire.open(server.port)
        keda, held = Keda(wire), list[float]()
        for size, places in (few, many):
            await keda.each_once(fleet(size, places, doubles.doubles), AT_ONCE)
            held.append(await _held(server, effort))
        wire.close()
    if keda.outcome.failed:
        raise RuntimeError(f"{keda.outcome.failed} calls failed")
    return held[1] - held[0]


async def _streams(doubles: Backends, effort: Effort) -> float:
    async with serving("real", SETTINGS, doubles.env) as server:
        wire = await Wire.open(server.port)
        (trigger,) = fleet(1, 1, doubles.doubles, orders=1)
        held = list[float]()
        for count in (100, effort.others):
            for _ in range(count):
                wire.call(STREAM, trigger.requests.ref(), lambda _: None)
            held.append(await _held(server, effort))
        wire.close()
    return held[1] - held[0]


async def _objects(doubles: Backends, effort: Effort) -> float:
    """Return by how much memory grows with Kustomizations of one shard that is watched."""
    api = KubernetesDouble()
    url = await api.start()
    api.put("gitrepositories", git_repository("main@sha1:1", 1.8e9))
    metadata = {"source": "flux", "controller": "kustomize-controller", "shard": "shard1"}
    requests = requests_of("flux-system", "shard1", metadata, "", orders=1)

    def add(start: int, count: int) -> None:
        for number in range(start, start + count):
            api.put("kustomizations", kustomization(f"app-{number}", "shard1", 1.8e9))

    async with serving("real", {**SETTINGS, "kubernetes": {"url": url}}, doubles.env) as server:
        wire = await Wire.open(server.port)
        add(0, 1_000)
        wire.call(STREAM, requests.ref(), lambda _: None)
        before = await _held(server, effort)
        for start in range(1_000, 1_000 + effort.others, 500):
            add(start, min(500, 1_000 + effort.others - start))
            await asyncio.sleep(0.2)
        after = await _held(server, effort)
        wire.close()
    await api.stop()
    return after - before


async def measure(effort: Effort) -> Found:
    """Return a row for each kind of thing."""
    places = effort.on_places
    few, many = (places, places), (effort.scaled_objects, places)
    more = (100 + effort.others, 100 + effort.others)
    async with backends() as doubles:
        kinds: dict[str, tuple[Measured, int]] = {
            f"ScaledObject (on {places} places)": (
                lambda: _grown(doubles, few, many, effort), effort.scaled_objects - places,
            ),
            "place (with its ScaledObject)": (lambda: _grown(doubles, (100, 100), more, effort), effort.others),
            "stream": (lambda: _streams(doubles, effort), effort.others),
            "watched Kubernetes object": (lambda: _objects(doubles, effort), effort.others),
        }  # fmt: skip
        rows: list[Row] = []
        for thing, (grown, count) in kinds.items():
            found = [await grown() / count / 1e3 for _ in range(effort.runs)]
            rows.append({"thing": thing, "counted": count, "runs": effort.runs, "kB": spread(found)})
    return Found({"memory": rows})
