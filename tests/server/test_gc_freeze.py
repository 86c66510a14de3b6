"""Full collections are rare, and what was frozen goes without them."""

import asyncio
import gc
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from scaler.answers.scaledobject import Question, ScaledObject
from scaler.answers.streams import OpenStream, Streams
from scaler.core.errors import Fault
from scaler.core.quota import Quota
from scaler.demo.clock import ManualClock, settle
from scaler.demo.scripted import ScriptedReader, Work
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.app import open_readers
from scaler.server.gc_freeze import NEVER, PATIENCE, QUICK_OBJECTS, STEP, Garbage
from scaler.server.request_cache import RequestCache
from scaler.server.service import Service
from scaler.sources.backends import Backends
from scaler.sources.triggers import parse
from scaler.store.place_state import PlaceState
from scaler.store.snapshots import Snapshots

pytestmark = pytest.mark.usefixtures("scripted_source")

LONG_LIVED = (ScaledObject, Question, PlaceState, OpenStream)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what the collector is told."""
    told: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: told.append("freeze"))
    monkeypatch.setattr(gc, "collect", lambda generation=2: told.append(f"collect {generation}"))
    return told


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Let nothing be collected but what a test asks for, and what other tests have left not even then."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


def alive() -> int:
    return sum(isinstance(each, LONG_LIVED) for each in gc.get_objects())


def test_what_is_there_is_frozen_each_time_it_has_grown_by_a_step(frozen: list[str]) -> None:
    size = 0
    garbage = Garbage(lambda: size)
    for size in (1, STEP - 1, STEP, STEP + 1, 2 * STEP - 1):  # noqa: B007 - `garbage` looks at it
        garbage.grown()
    assert frozen == ["collect 1", "freeze"]
    size = 2 * STEP
    garbage.grown()
    assert frozen == ["collect 1", "freeze"] * 2


def test_what_comes_and_goes_is_not_frozen_again(frozen: list[str]) -> None:
    size = STEP
    garbage = Garbage(lambda: size)
    garbage.grown()
    for size in (3, STEP, 2 * STEP - 1, 7, STEP):  # noqa: B007 - see above
        garbage.grown()
    assert frozen.count("freeze") == 1


def test_a_start_makes_full_collections_rare(frozen: list[str]) -> None:
    before = gc.get_threshold()
    try:
        Garbage(lambda: 0).settle()
        assert gc.get_threshold() == (*before[:2], NEVER)
        assert frozen == ["collect 2", "freeze"]
    finally:
        gc.set_threshold(*before)


def test_the_old_generation_is_collected_when_that_is_quick_or_was_put_off_for_long(
    frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = QUICK_OBJECTS
    monkeypatch.setattr(gc, "get_objects", lambda _: range(old))
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    garbage = Garbage(lambda: 0)
    garbage.tidy()
    assert frozen == [], "Python does it by itself"
    garbage.settle()
    frozen.clear()
    garbage.tidy()
    assert frozen == ["collect 2"]
    old += 1
    for _ in range(PATIENCE):
        garbage.tidy()
    assert frozen == ["collect 2"]
    garbage.tidy()
    garbage.tidy()
    assert frozen == ["collect 2"] * 2


async def test_long_lived_things_go_without_the_collector(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots, uncollected: None
) -> None:
    """Whatever left a cycle here would stay for ever once it was frozen."""
    streams = Streams(clock, Quota(100, "limits.maxStreams"), 600, lambda: 0.0)
    service = Service(RequestCache(objects.registry), objects.answers, objects.listeners, streams, 2.0)
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


DOWN = "127.0.0.1:{port}"
TRIGGERS = {
    "sqs": {"source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1", "awsEndpoint": f"http://{DOWN}"},
    "sidekiq": {"source": "sidekiq", "redisURL": f"redis://{DOWN}", "queues": "default"},
    "pages": {"source": "workqueue", "metricsURL": f"http://{DOWN}/metrics", "queues": "q"},
    "prometheus": {"source": "workqueue", "prometheusURL": f"http://{DOWN}", "selector": 'a="b"', "queues": "q"},
}


@pytest.mark.parametrize("kind", TRIGGERS)
async def test_a_read_that_fails_leaves_no_frames_for_the_collector(
    kind: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch, uncollected: None
) -> None:
    """Each left 30 kB that only a full collection freed, at every read of an outage."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    metadata = {key: value.format(port=unused_tcp_port) for key, value in TRIGGERS[kind].items()}
    place, *_ = parse(metadata, "shop").places()
    readers = open_readers(Backends())
    (reader,) = (each for each in readers if place.kind in each.kinds)
    faults: list[Fault] = []

    async def fail() -> None:
        try:
            await reader.read([place], lambda _, outcome: faults.append(outcome))
        except Fault as fault:
            faults.append(fault)

    await fail()  # what is loaded or made once
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            await fail()
        gc.collect()
        frames = [each for each in gc.garbage if isinstance(each, FrameType)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    for each in readers:
        await each.close()
    assert len(faults) == 4
    assert [frame.f_code.co_qualname for frame in frames] == []
