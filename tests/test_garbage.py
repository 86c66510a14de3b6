"""Full collections are rare, and what was frozen goes without them."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from scaler.demo.clock import ManualClock, settle
from scaler.demo.scripted import ScriptedReader, Work
from scaler.entries import Entry
from scaler.garbage import OLD_THRESHOLD, STEP, Growth
from scaler.garbage import settle as settle_garbage
from scaler.pb import externalscaler_pb2 as pb
from scaler.quota import Quota
from scaler.scaledobject import Question, ScaledObject
from scaler.service import Service
from scaler.snapshots import Snapshots
from scaler.streams import Life, Streams

pytestmark = pytest.mark.usefixtures("scripted_source")

LONG_LIVED = (ScaledObject, Question, Entry, Life)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what the collector is told."""
    told: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: told.append("freeze"))
    monkeypatch.setattr(gc, "collect", lambda generation=2: told.append(f"collect {generation}"))
    return told


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(isinstance(each, LONG_LIVED) for each in gc.get_objects())


def test_what_is_there_is_frozen_each_time_it_has_grown_by_a_step(frozen: list[str]) -> None:
    size = 0
    growth = Growth(lambda: size)
    for size in (1, STEP - 1, STEP, STEP + 1, 2 * STEP - 1):  # noqa: B007 - `growth` looks at it
        growth.grown()
    assert frozen == ["collect 1", "freeze"]
    size = 2 * STEP
    growth.grown()
    assert frozen == ["collect 1", "freeze"] * 2


def test_what_comes_and_goes_is_not_frozen_again(frozen: list[str]) -> None:
    size = STEP
    growth = Growth(lambda: size)
    growth.grown()
    for size in (3, STEP, 2 * STEP - 1, 7, STEP):  # noqa: B007 - see above
        growth.grown()
    assert frozen.count("freeze") == 1


def test_a_start_makes_full_collections_rare(frozen: list[str]) -> None:
    before = gc.get_threshold()
    try:
        settle_garbage()
        assert gc.get_threshold() == (*before[:2], OLD_THRESHOLD)
        assert frozen == ["collect 2", "freeze"]
    finally:
        gc.set_threshold(*before)


async def test_long_lived_things_go_without_the_collector(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots, uncollected: None
) -> None:
    """Whatever left a cycle here would stay for ever once it was frozen."""
    streams = Streams(clock, Quota(100, "limits.maxStreams"), 600, lambda: 0.0)
    service = Service(objects, streams, 2.0)
    reader.answers["a"] = Work(3)
    before = alive()

    async def send(_: Any) -> None:
        pass

    for name in ("asks", "listens"):
        metadata = {"source": "scripted", "spots": "a", "target": str(len(name))}
        ref = pb.ScaledObjectRef(namespace="shop", name=name, scalerMetadata=metadata)
        metric = pb.GetMetricsRequest(scaledObjectRef=ref, metricName="scripted").SerializeToString()
        task = asyncio.ensure_future(service.get_metrics(metric))
        await clock.advance(0)
        await task
        del task
        stream = asyncio.ensure_future(service.stream_is_active(ref.SerializeToString(), send))
        await settle()
        if name == "listens":
            assert alive() > before
            stream.cancel()
            await settle()
        del stream
    await streams.drain()
    await clock.advance(2_000)
    objects.forget_old()
    assert (len(objects), len(store), len(streams)) == (0, 0, 0)
    assert alive() == before
