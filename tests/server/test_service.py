import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from scaler.answers.streams import Streams
from scaler.core.errors import MetadataError, Unavailable, UnknownMetricError
from scaler.core.quota import Quota
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock, settle
from scaler.demo.desk import Desk
from scaler.demo.scripted import HANG, ScriptedReader, Spot, Work
from scaler.pb import externalscaler_pb2 as pb
from scaler.server.request_cache import RequestCache
from scaler.server.service import Service
from scaler.sources.access import Access, AccessRule

pytestmark = pytest.mark.usefixtures("scripted_source")


def message(spots: str = "a", **metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(
        name="orders", namespace="shop", scalerMetadata={"source": "scripted", "spots": spots, **metadata}
    )


def ref(spots: str = "a", **metadata: str) -> bytes:
    return message(spots, **metadata).SerializeToString()


def request(name: str = "scripted", **metadata: str) -> bytes:
    return pb.GetMetricsRequest(scaledObjectRef=message(**metadata), metricName=name).SerializeToString()


@pytest.fixture
def streams(clock: ManualClock) -> Streams:
    return Streams(clock, Quota(10_000, "limits.maxStreams"), 600, lambda: 0.0)


@pytest.fixture
def desk(clock: ManualClock, store: Snapshots) -> Desk:
    return Desk(store, Access(), clock, limit=1_000)


@pytest.fixture
def service(desk: Desk, streams: Streams) -> Service:
    return Service(RequestCache(desk.registry), desk.answers, desk.listeners, streams, 2.0)


Now = Callable[[Any], Any]


@pytest.fixture
def now(clock: ManualClock) -> Now:
    """Await a call whose backend answers at once."""

    async def answered(call: Any) -> Any:
        task = asyncio.ensure_future(call)
        await clock.advance(0)
        return await task

    return answered


# Unary


async def test_specs_need_no_backend(service: Service, reader: ScriptedReader, store: Snapshots) -> None:
    reader.answers["a"] = HANG
    first = await service.get_metric_spec(ref())
    assert [spec.metricName for spec in first.metricSpecs] == ["scripted"]
    assert await service.get_metric_spec(ref()) is first, "made once"
    assert await service.get_metric_spec(ref(target="9")) != first
    assert reader.reads == []
    assert len(store) == 0


async def test_the_metric_asked_for_is_told(service: Service, reader: ScriptedReader, now: Now) -> None:
    reader.answers |= {"a": Work(3), "b": Work(4)}
    for name, value in (("scripted", 7), ("scripted-second", 4), ("SCRIPTED-Second", 4)):
        answer = await now(service.get_metrics(request(name, spots="a,b", second="2")))
        assert answer.metricValues[0].metricValueFloat == value


async def test_messages_are_made_once_for_each_change(
    service: Service, reader: ScriptedReader, now: Now, clock: ManualClock
) -> None:
    reader.answers["a"] = Work(3)
    first = await now(service.get_metrics(request()))
    assert await now(service.get_metrics(request())) is first
    reader.answers["a"] = Work(4)
    await clock.advance(10)
    assert (await now(service.get_metrics(request()))).metricValues[0].metricValue == 4


async def test_an_unknown_metric_is_an_error_that_lists_the_known(service: Service, reader: ScriptedReader) -> None:
    for name in ("", "s0-scripted", "other", "x" * 10_000):
        with pytest.raises(UnknownMetricError, match="known: scripted, scripted-second") as caught:
            await service.get_metrics(request(name, second="2"))
        assert len(str(caught.value)) < 300
    assert reader.reads == [], "found out without the backend"


async def test_is_active_is_true_or_false_by_the_readings(
    service: Service, reader: ScriptedReader, now: Now, clock: ManualClock
) -> None:
    assert not (await now(service.is_active(ref()))).result
    reader.answers["a"] = Work(2)
    await clock.advance(10)
    assert (await now(service.is_active(ref()))).result
    assert not (await now(service.is_active(ref(activation="2")))).result


@pytest.mark.parametrize("call", ["get_metrics", "is_active"])
async def test_calls_end_within_the_deadline(
    service: Service, reader: ScriptedReader, clock: ManualClock, call: str
) -> None:
    reader.answers["a"] = HANG
    task = asyncio.ensure_future(getattr(service, call)(request() if call == "get_metrics" else ref()))
    await clock.advance(1.8)
    assert not task.done()
    await clock.advance(0.2)
    with pytest.raises(Unavailable, match="no answer yet"):
        await task


# Streams


Stream = Callable[[bytes, Callable[[Any], Awaitable[None]]], Coroutine[Any, Any, None]]


async def nothing(_: Any) -> None:
    raise AssertionError("nothing is to be sent")


class Listener:
    """Keda's end of one stream: what arrived when."""

    def __init__(self, stream: Stream, request: bytes, clock: ManualClock) -> None:
        self.got: list[tuple[float, Any]] = []
        self._began = clock.now()

        async def send(message: Any) -> None:
            self.got.append((clock.now() - self._began, message))

        self.task = asyncio.create_task(stream(request, send))

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.got]


async def test_true_comes_at_open_and_again_in_growing_pauses(
    service: Service, reader: ScriptedReader, clock: ManualClock, streams: Streams
) -> None:
    reader.answers["a"] = Work(1)
    listener = Listener(service.stream_is_active, ref(), clock)
    await clock.advance(200)
    assert listener.times == list(itertools.accumulate([1, 2, 4, 8, 16, 32, 60, 60], initial=0))
    assert all(message == pb.IsActiveResponse(result=True) for _, message in listener.got)
    await streams.drain()
    await listener.task


async def test_rises_are_sent_within_the_idle_interval_and_falls_never(
    service: Service, reader: ScriptedReader, clock: ManualClock, streams: Streams
) -> None:
    listener = Listener(service.stream_is_active, ref(idleRefreshSeconds="0.5", refreshSeconds="5"), clock)
    await clock.advance(10)
    reader.answers["a"] = Work(1)
    await clock.advance(2)
    assert len(listener.times) == 2
    assert 10 <= listener.times[0] <= 10.5
    reader.answers["a"] = Work(0)
    await clock.advance(50)
    sent = len(listener.times)
    await clock.advance(100)
    assert len(listener.times) == sent
    reader.answers["a"] = Work(9)
    await clock.advance(0.5)
    assert len(listener.times) == sent + 1
    assert all(message.result for _, message in listener.got)
    await streams.drain()
    await listener.task


@pytest.mark.parametrize("answer", [HANG, Unavailable("down")], ids=["hangs", "is down"])
async def test_a_stream_stays_open_and_silent_while_nothing_is_known(
    service: Service, reader: ScriptedReader, clock: ManualClock, streams: Streams, answer: Any
) -> None:
    reader.answers["a"] = answer
    listener = Listener(service.stream_is_active, ref(), clock)
    await clock.advance(300)
    assert (listener.got, listener.task.done()) == ([], False)
    reader.answers["a"] = Work(1)
    await clock.advance(21)
    assert len(listener.got) >= 1
    await streams.drain()
    await listener.task


async def test_a_stream_falls_silent_when_readings_are_too_old_and_returns(
    service: Service, reader: ScriptedReader, clock: ManualClock, streams: Streams
) -> None:
    reader.answers["a"] = Work(1)
    listener = Listener(service.stream_is_active, ref(staleSeconds="30", holdSeconds="0"), clock)
    await clock.advance(8)
    reader.answers["a"] = Unavailable("down")
    await clock.advance(292)
    assert listener.times == [0, 1, 3, 7, 15]
    reader.answers["a"] = Work(1)
    await clock.advance(15)
    assert 300 < listener.times[5] <= 315
    await streams.drain()
    await listener.task


async def test_a_stream_that_is_no_longer_allowed_ends_instead_of_saying_more(
    service: Service, reader: ScriptedReader, clock: ManualClock, desk: Desk
) -> None:
    listener = Listener(service.stream_is_active, ref(), clock)
    await clock.advance(5)
    desk.registry.allow([AccessRule(namespaces=["blog"])])
    reader.answers["a"] = Work(1)
    await clock.advance(2)
    await listener.task
    assert listener.got == []
    assert len(desk.listeners) == 0


async def test_a_stream_of_bad_metadata_is_refused(service: Service, streams: Streams) -> None:
    with pytest.raises(MetadataError):
        await service.stream_is_active(ref(target="none"), nothing)
    with pytest.raises(MetadataError):
        await service.stream_metric_spec(ref(target="none"), nothing)
    assert len(streams) == 0


async def test_specs_are_streamed_at_once_and_every_minute(
    service: Service, reader: ScriptedReader, clock: ManualClock, streams: Streams
) -> None:
    listener = Listener(service.stream_metric_spec, ref(second="2"), clock)
    await clock.advance(599)
    assert listener.times == [60 * minute for minute in range(10)]
    assert {str(message) for _, message in listener.got} == {str(await service.get_metric_spec(ref(second="2")))}
    assert all(len(message.metricSpecs) == 2 for _, message in listener.got)
    await clock.advance(1)
    await listener.task
    assert reader.reads == []
    assert clock.pending == 0


async def test_thousands_of_streams_cost_one_lease_each_and_leave_nothing(
    service: Service, reader: ScriptedReader, clock: ManualClock, streams: Streams, store: Snapshots
) -> None:
    names = [f"s{number}" for number in range(50)]
    before = len(asyncio.all_tasks())
    listeners = [
        Listener(service.stream_is_active, ref(names[number % 50], target=str(number + 1)), clock)
        for number in range(500)
    ]
    await clock.advance(1)
    assert len(asyncio.all_tasks()) - before == len(listeners), "no task of their own"
    assert len(store) == 50
    assert len(store.state(Spot("s0")).leases) == 10
    assert reader.count("s0") == 2
    for listener in listeners:
        listener.task.cancel()
    await settle()
    assert len(asyncio.all_tasks()) == before
    assert len(streams) == 0
