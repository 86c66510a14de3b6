import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import yaml

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.reader import ObjectsReader
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.pages.reader import PagesReader
from scaler.core.domain import Assessment, Place, Reader
from scaler.core.errors import Fault
from scaler.demo.clock import ManualClock
from scaler.demo.flux import FluxWorkload, KustomizeShard
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends
from scaler.sources.base import NAMESPACE
from scaler.sources.flux.trigger import FluxTrigger


class Bench:
    """The shard, and a trigger that is assessed from real reads of it."""

    def __init__(self, api: KubernetesDouble, shard: KustomizeShard, clock: ManualClock, readers: list[Reader]) -> None:
        self.api, self.shard, self.clock, self.readers = api, shard, clock, readers
        self._news = asyncio.Event()
        for reader in readers:
            reader.listen(lambda _place: self._news.set())

    async def assess(self) -> Assessment:
        trigger = FluxTrigger.model_validate(
            {
                NAMESPACE: "apps",
                "source": "flux",
                "controller": "kustomize-controller",
                "shard": self.shard.shard,
                "port": str(self.shard.port or 1),
            }
        )
        readings = await self._read(trigger.places())
        readings |= await self._read(trigger.further_places(readings))
        return trigger.assess(readings, self.clock.wall())

    async def _read(self, places: tuple[Place, ...]) -> dict[Place, Any]:
        found = Reported()
        for reader in self.readers:
            await reader.read([place for place in places if place.kind in reader.kinds], found)
        for outcome in found.values():
            if isinstance(outcome, Fault):
                raise outcome
        return found

    async def until(self, expected: Callable[[Assessment], bool]) -> Assessment:
        """Assess whenever a watch tells of a change, until it is as `expected`; a pod may go before its watch tells."""
        async with asyncio.timeout(20):
            while True:
                with suppress(Fault):
                    if expected(found := await self.assess()):
                        return found
                await self._news.wait()
                self._news.clear()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        clock, api = ManualClock(), KubernetesDouble()
        await api.start()
        stack.push_async_callback(api.stop)
        kubernetes = Kubernetes(KubernetesSettings(url=api.url))
        stack.push_async_callback(kubernetes.close)
        backends = Backends(kubernetes=kubernetes)
        readers: list[Reader] = [backends.hand(ObjectsReader), backends.hand(PagesReader)]
        for reader in readers:
            stack.push_async_callback(reader.close)
        shard = KustomizeShard(api, clock, seconds=2, start_seconds=3)
        stack.push_async_callback(shard.scale, 0)
        yield Bench(api, shard, clock, readers)


def value(assessment: Assessment) -> float:
    return assessment.metrics[0].value


async def test_the_shard_sleeps_wakes_and_sleeps_again(bench: Bench) -> None:
    shard, clock = bench.shard, bench.clock
    shard.commit("main@sha1:1")
    found = await bench.assess()
    assert (value(found), found.active) == (0, False)

    for number in range(10):
        shard.add(f"app-{number}")
    await bench.until(lambda found: value(found) == 10 and found.active)

    await shard.scale(1)
    found = await bench.until(lambda found: any(part.name == "pods" and part.value for part in found.components))
    assert value(found) == 10  # the pod is not ready, which is no fault
    await clock.advance(3)
    # four are being worked on, six wait in the queue as well as being pending
    found = await bench.until(lambda found: value(found) == 16)
    assert "10 spec changed" in found.reasons[0]
    assert "6 in the queue and 4 being worked on" in found.reasons[0]

    await clock.advance(8)
    assert shard.unfinished() == []
    found = await bench.until(lambda found: not found.active)
    assert value(found) == 0
    await shard.scale(0)
    found = await bench.until(lambda found: any(part.name == "pods" and not part.value for part in found.components))
    assert (value(found), found.active) == (0, False)

    shard.commit("main@sha1:2")
    found = await bench.until(lambda found: found.active)
    assert value(found) == 10
    assert found.reasons[0].startswith("active: 10 source has a new revision (apps/app-0, apps/app-1, ")


async def test_the_interval_wakes_it(bench: Bench) -> None:
    bench.shard.commit("main@sha1:1")
    bench.shard.add("app")
    await bench.shard.scale(1)
    await bench.clock.advance(10)
    await bench.shard.scale(0)
    found = await bench.until(lambda found: not found.active and found.until < float("inf"))
    assert 3600 * 0.9 < found.until - bench.clock.wall() < 3600
    await bench.clock.advance(found.until - bench.clock.wall())
    assert (await bench.assess()).active


async def test_objects_of_other_shards_wake_nobody(bench: Bench) -> None:
    bench.shard.commit("main@sha1:1")
    bench.shard.add("mine")
    theirs = bench.api.put(
        "kustomizations",
        {
            "metadata": {
                "name": "theirs",
                "namespace": "apps",
                "labels": {"sharding.fluxcd.io/key": "shard2"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"interval": "1m"},
        },
    )
    found = await bench.until(lambda found: value(found) > 0)
    assert (value(found), "mine" in found.reasons[0], "theirs" in found.reasons[0]) == (1, True, False)
    theirs["metadata"]["labels"]["sharding.fluxcd.io/key"] = bench.shard.shard
    bench.api.put("kustomizations", theirs)
    await bench.until(lambda found: value(found) == 2)


async def test_what_was_cut_short_is_taken_up_again(bench: Bench) -> None:
    bench.shard.commit("main@sha1:1")
    bench.shard.add("app")
    await bench.shard.scale(1)
    await bench.clock.advance(8)
    bench.shard.commit("main@sha1:2")
    await bench.clock.advance(1)  # half of it
    await bench.shard.scale(0)
    found = await bench.until(lambda found: "cut short" in found.reasons[0])
    assert found.active


async def test_a_ready_pod_that_cannot_be_read_is_a_fault(bench: Bench) -> None:
    bench.shard.commit("main@sha1:1")
    bench.api.put(
        "pods",
        {
            "metadata": {"name": "p", "namespace": "flux-system", "labels": dict(bench.shard.labels)},
            "status": {
                "phase": "Running",
                "podIP": "127.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
    )
    with pytest.raises(Fault, match=r"127\.0\.0\.1"):
        await bench.assess()


async def test_manifest_and_load_of_the_stage(bench: Bench) -> None:
    workload = FluxWorkload(bench.api, objects=3, port=18123)
    manifest = yaml.safe_load(workload.manifest("127.0.0.1:9090"))
    metadata = manifest["spec"]["triggers"][0]["metadata"]
    assert (metadata["scalerAddress"], metadata["port"]) == ("127.0.0.1:9090", "18123")
    FluxTrigger.model_validate({NAMESPACE: "apps", **{k: v for k, v in metadata.items() if k != "scalerAddress"}})
    async with AsyncExitStack() as stack:
        await workload.open(stack)
        assert await workload.waiting() == 0
        await workload.load()
        assert await workload.waiting() == 3
